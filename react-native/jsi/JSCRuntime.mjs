/**
 * Completes the JavaScriptCore runtime of the npm package, which has no BigInt and no array buffers on native memory: returns the changed
 * source. On JavaScriptCore's C API, a BigInt is stored as a symbol is.
 */
const REPLACED = [
  [/(cloneBigInt\(\n\s+const Runtime::PointerValue\*)\) \{\n.*\n\}/, '$1 pv) {\n  return cloneSymbol(pv);\n}'],
  [
    /jsi::BigInt JSCRuntime::createBigIntFromInt64[^]*?(?=jsi::String JSCRuntime::createStringFromAscii)/,
    `jsi::BigInt JSCRuntime::createBigIntFromInt64(int64_t value) {
  return make<jsi::BigInt>(makeSymbolValue(JSBigIntCreateWithInt64(ctx_, value, nullptr)));
}
jsi::BigInt JSCRuntime::createBigIntFromUint64(uint64_t value) {
  return make<jsi::BigInt>(makeSymbolValue(JSBigIntCreateWithUInt64(ctx_, value, nullptr)));
}
bool JSCRuntime::bigintIsInt64(const jsi::BigInt& value) {
  auto number = static_cast<const JSCSymbolValue*>(getPointerValue(value))->sym_;
  return JSValueIsStrictEqual(ctx_, number, JSBigIntCreateWithInt64(ctx_, JSValueToInt64(ctx_, number, nullptr), nullptr));
}
bool JSCRuntime::bigintIsUint64(const jsi::BigInt& value) {
  auto number = static_cast<const JSCSymbolValue*>(getPointerValue(value))->sym_;
  return JSValueIsStrictEqual(ctx_, number, JSBigIntCreateWithUInt64(ctx_, JSValueToUInt64(ctx_, number, nullptr), nullptr));
}
uint64_t JSCRuntime::truncate(const jsi::BigInt& value) {
  return JSValueToUInt64(ctx_, static_cast<const JSCSymbolValue*>(getPointerValue(value))->sym_, nullptr);
}
jsi::String JSCRuntime::bigintToString(const jsi::BigInt& value, int) {
  auto text = JSValueToStringCopy(ctx_, static_cast<const JSCSymbolValue*>(getPointerValue(value))->sym_, nullptr);
  auto result = createString(text);
  JSStringRelease(text);
  return result;
}

`,
  ],
  [
    /(createArrayBuffer\(\n\s+std::shared_ptr<jsi::MutableBuffer> buffer\) \{\n).*\n/,
    `$1  if (buffer->size() == 0) {
    // JavaScriptCore detaches a buffer without memory.
    return global().getPropertyAsFunction(*this, "ArrayBuffer").callAsConstructor(*this, 0).getObject(*this).getArrayBuffer(*this);
  }
  auto* kept = new std::shared_ptr<jsi::MutableBuffer>(buffer);
  auto drop = [](void*, void* kept) { delete static_cast<std::shared_ptr<jsi::MutableBuffer>*>(kept); };
  JSValueRef exc = nullptr;
  auto made = JSObjectMakeArrayBufferWithBytesNoCopy(ctx_, buffer->data(), buffer->size(), drop, kept, &exc);
  checkException(made, exc);
  return createObject(made).getArrayBuffer(*this);
`,
  ],
  ['      return jsi::Value(createSymbol(value));\n    default:', '      return jsi::Value(createSymbol(value));\n    case kJSTypeBigInt:\n      return jsi::Value(make<jsi::BigInt>(makeSymbolValue(value)));\n    default:'],
  ['  } else if (value.isString()) {\n', '  } else if (value.isBigInt()) {\n    return static_cast<const JSCSymbolValue*>(getPointerValue(value))->sym_;\n  } else if (value.isString()) {\n'],
  [/(strictEquals\(const jsi::BigInt& a, const jsi::BigInt& b\)\n\s+const \{\n).*\n/, '$1  return JSValueIsStrictEqual(ctx_, static_cast<const JSCSymbolValue*>(getPointerValue(a))->sym_, static_cast<const JSCSymbolValue*>(getPointerValue(b))->sym_);\n'],
  // A BigInt is no symbol.
  ['  assert(JSValueIsSymbol(ctx_, sym_));\n', ''],
];

export function completed(source) {
  return REPLACED.reduce((text, [before, after]) => {
    const changed = text.replace(before, after);
    if (changed === text) throw new Error(`JSCRuntime.cpp has another text than ${before}`);
    return changed;
  }, source);
}
