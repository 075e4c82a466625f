/**
 * What an app configures.
 *
 * Promise: what is left out has the engine's default, which is the same in every language.
 * Border: only what the engine cannot be told at all is refused here, all of it at once; the rest is judged by the engine, all at once.
 */
import { ffi } from './border';
import { ConfigurationError, InvalidInputError } from './errors';
import type { IntegerMode } from './value';

/**
 * When background syncing may use a metered network: as any other, to push local writes only, or not at all. A sync that the app
 * asks for by name is never held back.
 */
export type MeteredPolicy = 'allow' | 'push-only' | 'never';

/**
 * What an acknowledged local write survives. Both: the end of the app, by a crash or by the system. `'normal'`: a power cut or a crash of
 * the operating system may lose the last writes, and what is left is a state that the app had. `'full'`: a power cut as well, if the disk
 * keeps its word; each commit waits until the disk has it.
 */
export type Durability = 'normal' | 'full';

/**
 * What this device does where a foreign change meets an edit of plain SQL, as `docs/policies.md` explains; an action is run again instead.
 */
export type ConflictPolicy = 'accept-server' | 'rebase' | 'keep-local' | 'manual' | 'last-write-wins';

/** What actions may take, be they data or code: everybody who writes waits for them. What is left out has the engine's default. */
export interface ActionBudget {
  /**
   * How long one run may take, in milliseconds; of code it is one statement. One that takes longer is an ActionTooSlowError. Default
   * 2,000; from 100 to a minute.
   */
  readonly runMs?: number | undefined;
  /**
   * How long all those together may run that one batch of remote rows makes run again, in milliseconds. Code is given up at its end, and
   * what is not done by then is laid down as it was recorded, if it fits. Default 2,000; from 100 to a minute.
   */
  readonly rebaseMs?: number | undefined;
  /**
   * How many bytes one run may write to synced tables: old and new values of each changed row. One that writes more is an
   * ActionTooLargeError. Default 8 MiB; from 1 KiB to 1 GiB.
   */
  readonly bytes?: number | undefined;
}

/**
 * How a client is opened and how it syncs. Every member but the path may be left out.
 *
 * Checked when the client is opened: first what the engine cannot be told at all (another type, a number below zero or beyond 32
 * bits), all of that at once; then the limits below, all of those at once. A part of a millisecond counts as a whole one.
 */
export interface ClientConfig {
  /** The database's file; made if there is none. Its folder must exist. */
  readonly path: string;
  /** The server, as `https://host/prefix`. Without one the client works, and keeps what is written until there is one. */
  readonly serverUrl?: string | undefined;
  /**
   * Whether `serverUrl` may be `http://` to a host that is not a loopback address. Others on the network can then read and change the
   * rows, and steal the token. For development in a local network or from an emulator. Default: no.
   */
  readonly allowHttp?: boolean | undefined;
  /**
   * Whose data this file holds. Default: what the server says when the device registers; a plain Synchro server does not say it,
   * there it is the `sub` of the token, if that is a JWT.
   */
  readonly userId?: string | undefined;
  /** What to call this device in the server's list. Default `device`. */
  readonly deviceName?: string | undefined;
  /** The kind of device. Default: the operating system's name. */
  readonly platform?: string | undefined;
  /** The app's version, as `1.2.3`; the server may ask for a newer one. Default `0.0.0`. */
  readonly appVersion?: string | undefined;
  /**
   * The schema's manifest as JSON, bundled with the app, so that the first start works offline. Default: fetched from the server.
   */
  readonly schemaJson?: string | undefined;
  /** What this device does about conflicts, by table. Default: what the server says of the table. */
  readonly policies?: Readonly<Record<string, ConflictPolicy>> | undefined;
  /** How long after a pass the next begins by itself, in milliseconds. Default 30,000; from a second to a day. */
  readonly syncIntervalMs?: number | undefined;
  /** How long local writes are gathered before a push, in milliseconds. Default 500; up to a minute. */
  readonly pushDebounceMs?: number | undefined;
  /** How long an answer may take before the request counts as lost, in milliseconds. Default 10,000. */
  readonly ackDeadlineMs?: number | undefined;
  /** How often a failed exchange is tried before the status says failed; it goes on at each interval. Default 5. */
  readonly maxRetries?: number | undefined;
  /** How often the server may fail on one local write before that is parked. Default 50; from 1 to 10,000. */
  readonly serverFaultAttempts?: number | undefined;
  /** How long the server may fail on it, in milliseconds. Default a day; from a minute to 30 days. */
  readonly serverFaultAgeMs?: number | undefined;
  /** Rows asked for in one answer. Default 1,000; from 100 to 1,000. */
  readonly pageSize?: number | undefined;
  /** Mutations sent in one request. Default 100; from 100 to 1,000. */
  readonly batchSize?: number | undefined;
  /** What may use a metered network. Default `'allow'`. */
  readonly metered?: MeteredPolicy | undefined;
  /** What an acknowledged local write survives. Default `'normal'`: the end of the app, not a power cut. */
  readonly durability?: Durability | undefined;
  /** Connections that read. Default 4; from 1 to 16. */
  readonly readers?: number | undefined;
  /** The write-ahead log is brought back into the database beyond this many bytes. Default 4 MiB; from 64 KiB to 1 GiB. */
  readonly walLimit?: number | undefined;
  /** A transaction without a statement for so long is rolled back, in milliseconds. Default 5,000; from 100 to a minute. */
  readonly transactionIdleMs?: number | undefined;
  /** What actions may take. Default: what stands at {@link ActionBudget}. */
  readonly actionBudget?: ActionBudget | undefined;
  /** How integers come out of queries where a call does not say. Default `'auto'`. */
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

/** The members that are whole numbers of 32 bits. */
const COUNTS = ['maxRetries', 'serverFaultAttempts', 'pageSize', 'batchSize', 'readers', 'walLimit'] as const;
/** The members that are milliseconds, of which the engine takes whole ones of 32 bits. */
const DURATIONS = ['syncIntervalMs', 'pushDebounceMs', 'ackDeadlineMs', 'serverFaultAgeMs', 'transactionIdleMs'] as const;
/** Milliseconds that the engine can be told: 49 days. */
const LONGEST = 2 ** 32 - 1;

/** The configuration on its way in. @internal */
export function lowerConfig(config: ClientConfig): ffi.ClientConfig {
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
  const policies = new Map<string, ffi.ConflictPolicy>();
  for (const [table, policy] of Object.entries(config.policies ?? {})) {
    const known = POLICY[policy];
    if (known === undefined) problems.push(`the policy of ${table} is ${String(policy)}`);
    else policies.set(table, known);
  }
  if (problems.length > 0) throw new ConfigurationError(`configuration: ${problems.join('; ')}`);
  const { integers: _, policies: __, ...rest } = config;
  // The generated type knows members that are not there, but none that are there and undefined, which it takes as well.
  return ffi.ClientConfig.create({ ...rest, ...durations, actionBudget, metered, durability, policies: config.policies === undefined ? undefined : policies } as ffi.ClientConfig);
}

/**
 * A timeout on its way in: milliseconds, or none. Zero does not wait, a part of a millisecond counts as a whole one, and what is longer
 * than 49 days is as good as that. @internal
 */
export function lowerTimeout(milliseconds: number | undefined): number | undefined {
  if (milliseconds === undefined || milliseconds === Infinity) return undefined;
  if (typeof milliseconds === 'number' && milliseconds >= 0) return Math.min(Math.ceil(milliseconds), LONGEST);
  throw new InvalidInputError(`a timeout of ${String(milliseconds)} is no number of milliseconds from zero, which does not wait`);
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}
