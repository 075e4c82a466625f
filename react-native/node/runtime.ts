/**
 * The module that the generated definitions import as `@ubjs/node`: the addon that loads a UniFFI library into Node.
 *
 * The addon is the file that `REJOIN_NODE_RUNTIME` names (built by `cargo xtask toolchain ubrn`), the library is in the folder that
 * `REJOIN_LIBRARY_DIR` names (built by `cargo build -p rejoin-bindings`). Without a variable, its file is the one that the published
 * package contains for this host (`prebuilt/node/<platform>-<arch>/`, for example `linux-x64`). If a file is missing, the error names it
 * and the remedy. For tests, tools and Node programs; on a phone the bindings are a native module.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ConfigurationError } from '../src/errors';

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

const require = createRequire(import.meta.url);
const HOST = `${process.platform}-${process.arch}`;

/** Returns the path that `variable` leads to or, if it is not set, the path of the published package's `name`; throws if there is no file. */
function existing(variable: string, name: string, path: (set: string) => string): string {
  const set = process.env[variable];
  const found = set === undefined ? prebuilt(name) : path(set);
  if (existsSync(found)) return found;
  const what = set === undefined ? `the package has no ${name} for ${HOST} and ${variable} is not set` : `${variable} leads to no file: ${found}`;
  throw new ConfigurationError(`${what}; build it: \`cargo xtask package npm\` in a checkout of Rejoin makes a package with it`);
}

function prebuilt(name: string): string {
  try {
    return join(dirname(require.resolve('@rejoin/react-native/package.json')), 'prebuilt', 'node', HOST, name);
  } catch {
    // A program that was bundled into one file is not in the package.
    return '';
  }
}

function resolveLibPath({ crateName }: { crateName: string; callerUrl: string }): string {
  const [prefix, suffix] =
    process.platform === 'win32' ? ['', '.dll'] : ['lib', process.platform === 'darwin' ? '.dylib' : '.so'];
  const name = `${prefix}${crateName}${suffix}`;
  return existing('REJOIN_LIBRARY_DIR', name, (folder) => join(folder, name));
}

/** Loaded at first use, so that a program that only decodes rows needs neither addon nor library. */
const UniffiNativeModule = {
  open(path: string): NativeModule {
    const addon = require(existing('REJOIN_NODE_RUNTIME', 'uniffi-runtime-napi.node', (file) => file)) as Addon;
    return addon.UniffiNativeModule.open(path);
  },
};

export default { UniffiNativeModule, FfiType, resolveLibPath };
