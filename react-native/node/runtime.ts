/**
 * The module that the generated bindings import as `@ubjs/node`: the addon that loads a UniFFI library into Node.
 *
 * `REJOIN_NODE_RUNTIME` names the addon (built by `cargo xtask toolchain ubrn`), `REJOIN_LIBRARY_DIR` the folder of the library (built by
 * `cargo build -p rejoin-bindings`). If one is missing, the error names it and the command that builds it. For tests, benchmarks and Node
 * programs in this repository; on a phone the bindings are a native module.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** A library opened by the addon. */
interface NativeModule {
  register(definitions: object): object;
}

/** The only class of the addon. */
interface Addon {
  UniffiNativeModule: { open(path: string): NativeModule };
}

const plain = (tag: string) => ({ tag });

/** The FFI types, by the addon's names. */
const FfiType = {
  UInt8: plain('UInt8'),
  Int8: plain('Int8'),
  UInt16: plain('UInt16'),
  Int16: plain('Int16'),
  UInt32: plain('UInt32'),
  Int32: plain('Int32'),
  UInt64: plain('UInt64'),
  Int64: plain('Int64'),
  Float32: plain('Float32'),
  Float64: plain('Float64'),
  Handle: plain('Handle'),
  RustBuffer: plain('RustBuffer'),
  ForeignBytes: plain('ForeignBytes'),
  RustCallStatus: plain('RustCallStatus'),
  VoidPointer: plain('VoidPointer'),
  Void: plain('Void'),
  Callback: (name: string) => ({ tag: 'Callback', name }),
  Struct: (name: string) => ({ tag: 'Struct', name }),
  Reference: (inner: object) => ({ tag: 'Reference', inner }),
  MutReference: (inner: object) => ({ tag: 'MutReference', inner }),
};

function existing(variable: string, name: string, made: string): string {
  const set = process.env[variable];
  const path = set === undefined ? undefined : join(set, name);
  if (path === undefined || !existsSync(path)) {
    const what = path === undefined ? 'is not set' : `names no file: ${path}`;
    throw new Error(`${variable} ${what}; \`${made}\` makes it, \`cargo xtask test --only javascript\` sets it`);
  }
  return path;
}

function resolveLibPath({ crateName }: { crateName: string; callerUrl: string }): string {
  const [prefix, suffix] =
    process.platform === 'win32' ? ['', '.dll'] : ['lib', process.platform === 'darwin' ? '.dylib' : '.so'];
  return existing('REJOIN_LIBRARY_DIR', `${prefix}${crateName}${suffix}`, 'cargo build -p rejoin-bindings');
}

/** Loaded at first use, so that a program that only decodes rows needs neither addon nor library. */
const UniffiNativeModule = {
  open(path: string): NativeModule {
    const runtime = existing('REJOIN_NODE_RUNTIME', '', 'cargo xtask toolchain ubrn');
    const addon = createRequire(import.meta.url)(runtime) as Addon;
    return addon.UniffiNativeModule.open(path);
  },
};

export default { UniffiNativeModule, FfiType, resolveLibPath };
