/**
 * The functions of the Rust library on Node, under the names of the bindings for React Native: the generated TypeScript is the same.
 *
 * The addon has the functions of the library only. Those for strings and for the release of unreachable objects, which are C++ in React
 * Native, are here.
 */
import type { NativeModule } from '../src/native-module';
import library from './generated/rejoin_ffi-ffi';

type Free = (pointer: bigint, status: { code: number }) => void;

const PREFIX = 'ubrn_';
const FREE = /^uniffi_rejoin_ffi_fn_free_(\w+)$/;

const strings = {
  string_to_byte_length: (text: string) => Buffer.byteLength(text),
  string_to_buffer: (text: string) => new TextEncoder().encode(text),
  string_from_buffer: (bytes: Uint8Array) => decoder.decode(bytes),
  read_string_from_buffer: (buffer: { arrayBuffer: ArrayBuffer }, offset: number, length: number) =>
    decoder.decode(new Uint8Array(buffer.arrayBuffer, offset, length)),
};
const decoder = new TextDecoder();

/** Releases what the garbage collector has found unreachable. */
const unreachable = new FinalizationRegistry<{ free: Free; pointer: bigint }>(({ free, pointer }) => free(pointer, { code: 0 }));

/** A value that releases the pointer once it is unreachable, unless it was marked as released. */
function owner(free: Free) {
  return (pointer: bigint) => {
    const owned = { markDestroyed: () => void unreachable.unregister(owned) };
    unreachable.register(owned, { free, pointer }, owned);
    return owned;
  };
}

/** Opens the library; throws if it or the addon is missing (see `runtime.ts`). */
export function load(): NativeModule {
  const loaded: NativeModule = {};
  for (const [name, value] of Object.entries(library())) {
    loaded[name.includes('rejoin_ffi_') ? PREFIX + name : name] = value;
    const object = FREE.exec(name)?.[1];
    if (object !== undefined) loaded[`${PREFIX}uniffi_internal_fn_method_${object}_ffi__bless_pointer`] = owner(value as unknown as Free);
  }
  for (const [name, value] of Object.entries(strings)) loaded[`${PREFIX}uniffi_internal_fn_func_ffi__${name}`] = value;
  return loaded;
}
