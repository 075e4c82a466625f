//! Post-processes the generated C++: calls of the engine's threads are safe when their JavaScript
//! runtime ends.
//!
//! The generated code keeps each function that the engine calls in a global, which threads read
//! while the end of a runtime clears it. A thread that waits for an ended runtime waits forever, and
//! queued tasks release JavaScript values on any thread. Here, the globals are of the classes in
//! `react-native/cpp/rejoin_runtime.h`, which says what they guarantee.
//!
//! Further corrections: tables of functions are never freed, since the engine keeps pointers to
//! them, and bytes that are copied for JavaScript are freed with it.

/// Ends the declaration of a function that the engine calls, and nothing else.
const FUNCTION: &str = "> rsLambda = nullptr;\n";

/// The type that runs the calls, everywhere.
const INVOKER: (&str, &str) = ("uniffi_runtime::UniffiCallInvoker", "rejoin::Invoker");

/// Replacements for each function that the engine calls.
const FUNCTIONS: [(&str, &str); 7] = [
    // Never freed: threads still call while the process exits.
    (
        "static std::function<void(uint64_t",
        "static auto &rsLambda = *new rejoin::Callback<void(uint64_t",
    ),
    (FUNCTION, ">();\n"),
    ("        if (rsLambda != nullptr) {\n", "        if (rsLambda.isOf(callInvoker)) {\n"),
    (
        "std::make_shared<jsi::Value>(rt, callbackFunction);\n",
        "callInvoker->keep(rt, callbackFunction);\n",
    ),
    ("rsLambda = [&rt, callInvoker, ", "rsLambda.set(callInvoker, [callInvoker, "),
    ("                callInvoker->invoke", "                return callInvoker->invoke"),
    ("(rt, jsLambda);\n        };\n", "(jsLambda);\n        });\n"),
];

/// Replacements of text that occurs once.
const ONCE: [(&str, &str); 5] = [
    (
        "    static std::unordered_map<std::string, std::shared_ptr<void>> vtableRegistry;\n",
        "    static auto &vtableRegistry = *new std::unordered_map<std::string, std::shared_ptr<void>>();\n",
    ),
    // All tables of a kind are equal: they have the functions above.
    (
        "        vtableRegistry[std::string(identifier)] = std::shared_ptr<void>(holder);
        return rawPtr;
",
        "        auto [place, isNew] = vtableRegistry.try_emplace(std::string(identifier), holder);
        return isNew ? rawPtr : &std::static_pointer_cast<VTableHolder<T>>(place->second)->vtable;
",
    ),
    (
        "      uint8_t *bytes = new uint8_t[len];
      std::memcpy(bytes, status.error_buf.data, len);
      auto payload = std::make_shared<uniffi_jsi::CMutableBuffer>(bytes, len);
",
        "      std::vector<uint8_t> bytes(status.error_buf.data, status.error_buf.data + len);
      auto payload = std::make_shared<rejoin::OwnedBytes>(std::move(bytes));
",
    ),
    (
        "uniffi_jsi::Bridging<std::string>::string_to_buffer(rt, args[0])",
        "rejoin::bytesOf(rt, args[0])",
    ),
    (
        ") : callInvoker(invoker), props() {\n",
        ") : callInvoker(invoker), props() {
    props[\"first_handle\"] = jsi::BigInt::fromUint64(rt, invoker->firstHandle());
",
    ),
];

/// Parts to replace for each function that the engine calls: first text, last text, replacement.
const PARTS: [(&str, &str, &str); 2] = [
    ("        // If the runtime has shutdown, then there is no", "\n        }\n", ""),
    ("    // This method is called from the destructor of", "rsLambda = nullptr;\n    }\n", ""),
];

/// Parts to replace once.
const PART_ONCE: [(&str, &str, &str); 3] = [
    ("    // Clear the registry.\n", "vtableRegistry.clear();\n    }\n", ""),
    ("void NativeRejoinFfi::registerModule(", "clearRegistry();\n}\n", ""),
    (
        "    // Cleanup for callback function RustFutureContinuationCallback\n",
        "}\n",
        "    rejoin::end(*callInvoker);\n    callInvoker->release();\n}\n",
    ),
];

/// Replacements in the header.
const HEADER: (&str, &str) =
    ("#include \"UniffiCallInvoker.h\"\n", "#include \"../rejoin_runtime.h\"\n");
const HEADER_PART: (&str, &str, &str) = (
    "    /**\n     * The entry point into the crate.",
    "unregisterModule(jsi::Runtime &rt);\n",
    "",
);

/// The source to commit; `None` if the generator no longer produces the code to patch.
pub(super) fn source(cpp: &str) -> Option<String> {
    let functions = cpp.matches(FUNCTION).count();
    let parts =
        PART_ONCE.map(|part| (part, 1)).into_iter().chain(PARTS.map(|part| (part, functions)));
    let text = parts
        .into_iter()
        .try_fold(cpp.to_owned(), |text, (part, times)| cut(&text, part, times))?;
    let of_functions = FUNCTIONS.map(|change| (change, functions)).into_iter();
    let changes = of_functions.chain(ONCE.map(|change| (change, 1)));
    let text = changes
        .into_iter()
        .try_fold(text, |text, (change, times)| replaced(&text, change, times))?;
    Some(text.replace(INVOKER.0, INVOKER.1))
}

/// The header to commit, likewise.
pub(super) fn header(hpp: &str) -> Option<String> {
    let text = cut(hpp, HEADER_PART, 1)?;
    Some(replaced(&text, HEADER, 1)?.replace(INVOKER.0, INVOKER.1))
}

/// The text with a replacement at each of the places, if there are so many.
fn replaced(text: &str, (before, after): (&str, &str), times: usize) -> Option<String> {
    (text.matches(before).count() == times).then(|| text.replace(before, after))
}

/// The text with each of the parts replaced, if there are so many.
fn cut(text: &str, (first, last, instead): (&str, &str, &str), times: usize) -> Option<String> {
    let mut parts = text.split(first);
    let mut kept = parts.next()?.to_owned();
    let mut found = 0;
    for part in parts {
        let (_, rest) = part.split_once(last)?;
        kept.push_str(instead);
        kept.push_str(rest);
        found += 1;
    }
    (found == times).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, HEADER, HEADER_PART, INVOKER, ONCE, PART_ONCE, PARTS, header, source};

    #[test]
    fn each_function_is_patched_or_the_patch_fails() {
        let pieces = |texts: &[(&str, &str)]| texts.iter().map(|it| it.0).collect::<String>();
        let parts = |parts: &[(&str, &str, &str)]| {
            parts.iter().flat_map(|it| [it.0, "kept?", it.1]).collect::<String>()
        };
        let function = pieces(&FUNCTIONS) + &parts(&PARTS) + INVOKER.0;
        let rest = pieces(&ONCE) + &parts(&PART_ONCE);
        let whole = format!("{function}{function}{rest}");
        let patched = source(&whole).unwrap();
        assert_eq!(patched.matches("rejoin::Callback<").count(), 2);
        assert_eq!(patched.matches("rejoin::Invoker").count(), 2);
        assert!(!patched.contains("kept?"), "{patched}");
        for (before, _) in FUNCTIONS.into_iter().chain(ONCE) {
            assert!(source(&whole.replacen(before, "", 1)).is_none(), "{before}");
        }
        for (first, _, _) in PARTS.into_iter().chain(PART_ONCE) {
            assert!(source(&whole.replacen(first, "", 1)).is_none(), "{first}");
        }
        let own = format!("{}{}", HEADER.0, parts(&[HEADER_PART]));
        assert_eq!(header(&own).unwrap(), HEADER.1);
        assert!(header(HEADER.0).is_none());
    }
}
