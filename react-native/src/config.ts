/**
 * The client's configuration.
 *
 * Omitted members have the engine's defaults, which are the same in every language. This module rejects only values that cannot be
 * passed to the engine, all of them in one error; the engine checks the rest, also in one error.
 */
import { ffi } from './border';
import { ConfigurationError, InvalidInputError } from './errors';
import type { IntegerMode } from './value';

/**
 * How background syncing uses a metered network: like any other, only to push local writes, or not at all. A sync that the app
 * requests explicitly always runs.
 */
export type MeteredPolicy = 'allow' | 'push-only' | 'never';

/**
 * What an acknowledged local write survives. Both modes: a crash or a kill of the app. `'normal'`: a power cut or a crash of the operating
 * system may lose the last writes; the file is then an earlier state. `'full'`: also a power cut, if the disk honours flushes; each commit
 * waits for the flush.
 */
export type Durability = 'normal' | 'full';

/**
 * What this device does when a remote change conflicts with a local edit (`docs/policies.md`). An action runs again instead.
 */
export type ConflictPolicy = 'accept-server' | 'rebase' | 'keep-local' | 'manual' | 'last-write-wins';

/** Limits of actions, which block all other writes while they run. Omitted members have the engine's defaults. */
export interface ActionBudget {
  /**
   * Maximum duration of one run, or of each statement of a handler, in milliseconds; beyond it ActionTooSlowError. Default 2,000; from
   * 100 to a minute.
   */
  readonly runMs?: number | undefined;
  /**
   * Maximum total duration of the actions that one batch of remote rows makes run again, in milliseconds. After it a running handler is
   * cancelled, and the remaining actions are reapplied as recorded if they fit. Default 2,000; from 100 to a minute.
   */
  readonly rebaseMs?: number | undefined;
  /**
   * Maximum number of bytes that one run writes to synced tables, old and new values of each changed row; beyond it ActionTooLargeError.
   * Default 8 MiB; from 1 KiB to 1 GiB.
   */
  readonly bytes?: number | undefined;
}

/** Ready-made configurations. */
export const RejoinConfig = {
  /**
   * A new file, for tests and previews: `{ ...RejoinConfig.temporary(), schema }`.
   *
   * It is a real database in a new folder within the system's folder for temporary files, and works offline. Every open creates a database
   * of its own; the client's `path` is its file. `shutdown` removes the folder. After a crash the folder stays until the system removes it.
   * Before Android 13, the native code of the app must first set the environment variable `TMPDIR` to the cache folder.
   */
  temporary(): RejoinConfig {
    return { path: ':temporary:' };
  },
};

/**
 * How a client is opened and how it syncs. Every member but the path is optional.
 *
 * Opening the client checks it in two steps: first the types (also numbers below zero or beyond 32 bits), then the limits below. Each step
 * reports all its problems in one error. Fractions of a millisecond are rounded up.
 */
export interface RejoinConfig {
  /** The path of the database file, which is created if absent. Its folder must exist. */
  readonly path: string;
  /** The server, as `https://host/prefix`. Without one the client works offline and queues writes. */
  readonly server?: string | undefined;
  /**
   * Whether `server` may be `http://` to a host that is not a loopback address. Others on the network can then read and change the
   * rows, and steal the token. For development in a local network or from an emulator. Default: no.
   */
  readonly allowHttp?: boolean | undefined;
  /**
   * The user whose data this file holds. Default: the user that the server names when the device registers. A plain Synchro server names
   * none: there it is the `sub` of the token, if that is a JWT.
   */
  readonly userId?: string | undefined;
  /** The name of this device in the server's list. Default `device`. */
  readonly deviceName?: string | undefined;
  /** The kind of device. Default: the operating system's name. */
  readonly platform?: string | undefined;
  /** The app's version, as `1.2.3`; the server may require a newer one. Default `0.0.0`. */
  readonly appVersion?: string | undefined;
  /**
   * The schema's manifest, bundled with the app, so that the first start works offline: an object, such as an imported JSON file, or JSON
   * text. Default: fetched from the server.
   */
  readonly schema?: object | string | undefined;
  /** The conflict policy of each table. Default: the policy that the server declares for the table. */
  readonly policies?: Readonly<Record<string, ConflictPolicy>> | undefined;
  /**
   * Interval between two syncs without another trigger, in milliseconds. Default 30,000; from a second to a day. While
   * the server's event stream is open and nothing happens, it grows 64-fold, to at most 30 minutes: a change wakes the device.
   */
  readonly syncIntervalMs?: number | undefined;
  /** The shortest time between two pushes of local writes, in milliseconds. Default 500; up to a minute. The first after a pause is immediate. */
  readonly pushDebounceMs?: number | undefined;
  /** Response timeout of a request, in milliseconds. Default 10,000. */
  readonly ackDeadlineMs?: number | undefined;
  /** Number of failed attempts after which the status is `'failed'`; attempts continue at each interval. Default 5. */
  readonly maxRetries?: number | undefined;
  /** Number of server faults on one mutation after which it is parked. Default 50; from 1 to 10,000. */
  readonly serverFaultAttempts?: number | undefined;
  /** Duration of server faults on one mutation after which it is parked, in milliseconds. Default a day; from a minute to 30 days. */
  readonly serverFaultAgeMs?: number | undefined;
  /**
   * Maximum number of rows in one response. Default 1,000; from 100 to 1,000. A snapshot begins with it; its pages then
   * follow the speed of the network, up to the server's limit.
   */
  readonly pageSize?: number | undefined;
  /** Maximum number of mutations in one request. Default 100; from 100 to 1,000. */
  readonly batchSize?: number | undefined;
  /** How syncing uses a metered network. Default `'allow'`. */
  readonly metered?: MeteredPolicy | undefined;
  /** What an acknowledged local write survives. Default `'normal'`: the end of the app, not a power cut. */
  readonly durability?: Durability | undefined;
  /** Number of read connections. Default 4; from 1 to 16. */
  readonly readers?: number | undefined;
  /** Size of the write-ahead log, in bytes, beyond which it is checkpointed. Default 4 MiB; from 64 KiB to 1 GiB. */
  readonly walLimit?: number | undefined;
  /** Time without a statement after which a transaction is rolled back, in milliseconds. Default 5,000; from 100 to a minute. */
  readonly transactionIdleMs?: number | undefined;
  /** Limits of actions. Default: see {@link ActionBudget}. */
  readonly actionBudget?: ActionBudget | undefined;
  /** How queries decode integers unless a call overrides it. Default `'auto'`. */
  readonly integers?: IntegerMode | undefined;
}

const METERED: Record<MeteredPolicy, ffi.MeteredPolicy> = {
  allow: ffi.MeteredPolicy.Allow,
  'push-only': ffi.MeteredPolicy.PushOnly,
  never: ffi.MeteredPolicy.Never,
};

const DURABILITY: Record<Durability, ffi.Durability> = {
  normal: ffi.Durability.Normal,
  full: ffi.Durability.Full,
};

const POLICY: Record<ConflictPolicy, ffi.ConflictPolicy> = {
  'accept-server': ffi.ConflictPolicy.AcceptServer,
  rebase: ffi.ConflictPolicy.Rebase,
  'keep-local': ffi.ConflictPolicy.KeepLocal,
  manual: ffi.ConflictPolicy.Manual,
  'last-write-wins': ffi.ConflictPolicy.LastWriteWins,
};

/** The members that are 32-bit whole numbers. */
const COUNTS = ['maxRetries', 'serverFaultAttempts', 'pageSize', 'batchSize', 'readers', 'walLimit'] as const;
/** The members in milliseconds, which the engine takes as 32-bit whole numbers. */
const DURATIONS = ['syncIntervalMs', 'pushDebounceMs', 'ackDeadlineMs', 'serverFaultAgeMs', 'transactionIdleMs'] as const;
/** The longest duration that the engine accepts, in milliseconds: 49 days. */
const LONGEST = 2 ** 32 - 1;

/** Converts the configuration for the engine. @internal */
export function lowerConfig(config: RejoinConfig): ffi.ClientConfig {
  const problems: string[] = [];
  if (typeof config.path !== 'string') problems.push('path is not a text');
  const count = (name: string, value: number | undefined): number | undefined => {
    if (value !== undefined && !isCount(value)) problems.push(`${name} is ${String(value)}, not a whole number of 32 bits`);
    return value;
  };
  const duration = (name: string, value: number | undefined): number | undefined => {
    if (value === undefined) return undefined;
    if (typeof value === 'number' && value >= 0 && value <= LONGEST) return Math.ceil(value);
    problems.push(`${name} is ${String(value)}, not a number of milliseconds from 0 to ${LONGEST}`);
    return undefined;
  };
  for (const name of COUNTS) count(name, config[name]);
  const durations = Object.fromEntries(DURATIONS.map((name) => [name, duration(name, config[name])]));
  const { runMs, rebaseMs, bytes } = config.actionBudget ?? {};
  const actionBudget = {
    runMs: duration('actionBudget.runMs', runMs),
    rebaseMs: duration('actionBudget.rebaseMs', rebaseMs),
    bytes: count('actionBudget.bytes', bytes),
  };
  const metered = config.metered === undefined ? undefined : METERED[config.metered];
  if (config.metered !== undefined && metered === undefined) problems.push(`metered is ${String(config.metered)}`);
  const durability = config.durability === undefined ? undefined : DURABILITY[config.durability];
  if (config.durability !== undefined && durability === undefined) problems.push(`durability is ${String(config.durability)}`);
  const schema = lowerSchema(config.schema, problems);
  const policies = new Map<string, ffi.ConflictPolicy>();
  for (const [table, policy] of Object.entries(config.policies ?? {})) {
    const known = POLICY[policy];
    if (known === undefined) problems.push(`the policy of ${table} is ${String(policy)}`);
    else policies.set(table, known);
  }
  if (problems.length > 0) throw new ConfigurationError(`configuration: ${problems.join('; ')}`);
  const { integers: _, policies: __, schema: ___, ...rest } = config;
  // The generated type allows absent members but not undefined ones; its code accepts both.
  return ffi.ClientConfig.create({ ...rest, ...durations, schema, actionBudget, metered, durability, policies: config.policies === undefined ? undefined : policies } as ffi.ClientConfig);
}

/** The JSON text of a schema. */
function lowerSchema(schema: unknown, problems: string[]): string | undefined {
  if (schema === undefined || typeof schema === 'string') return schema;
  if (typeof schema === 'object' && schema !== null) {
    try {
      return JSON.stringify(schema);
    } catch (error) {
      problems.push(`schema cannot be written as JSON: ${String(error)}`);
      return undefined;
    }
  }
  problems.push(`schema is ${String(schema)}, neither an object nor JSON text`);
  return undefined;
}

/**
 * Converts a timeout in milliseconds, or none, for the engine. Zero does not wait; fractions are rounded up; the maximum is 49 days.
 * @internal
 */
export function lowerTimeout(milliseconds: number | undefined): number | undefined {
  if (milliseconds === undefined || milliseconds === Infinity) return undefined;
  if (typeof milliseconds === 'number' && milliseconds >= 0) return Math.min(Math.ceil(milliseconds), LONGEST);
  throw new InvalidInputError(`a timeout of ${String(milliseconds)} is no number of milliseconds from zero, which does not wait`);
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}
