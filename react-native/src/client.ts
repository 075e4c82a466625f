/**
 * The client: opening, syncing, the queue and shutdown.
 *
 * Everything except syncing works offline. A shutdown ends all running calls, and every promise of a method is settled. Reading and
 * writing are in `database.ts`; decisions about mutations are in `decisions.ts`.
 */
import type { Actions } from './actions';
import { crossing, directly, ffi, lower } from './border';
import type { Subscription } from './callback';
import { type ClientConfig, lowerConfig, lowerTimeout } from './config';
import { Decisions } from './decisions';
import { EndedError } from './errors';
import { raiseImport, type SynchroImport } from './import';
import {
  type PendingCounts,
  type PendingMutation,
  raiseMutation,
  raiseRowState,
  raiseVerdict,
  type RowSyncState,
  type SyncReport,
  type Verdict,
} from './queue';
import type { DecodeOptions } from './row-buffer';
import { raiseStatus, stopped, type SyncStatus } from './status';
import { lowerTokens, type TokenProvider } from './tokens';
import { type HttpTransport, lowerTransport } from './transport';
import type { SqlParam } from './value';

/** Objects that the app provides. */
export interface Services {
  /** Returns the user's token. Without it requests carry the configured user id, which a server accepts only from its own machine. */
  readonly tokens?: TokenProvider | undefined;
  /** Replaces the built-in HTTP client. */
  readonly transport?: HttpTransport | undefined;
  /** The actions for `perform`. */
  readonly actions?: Actions | undefined;
}

/** SQLite's checkpoint modes; each does what the previous one does, and more. */
export type CheckpointMode = 'passive' | 'full' | 'restart' | 'truncate';

const CHECKPOINT: Record<CheckpointMode, ffi.CheckpointMode> = {
  passive: ffi.CheckpointMode.Passive,
  full: ffi.CheckpointMode.Full,
  restart: ffi.CheckpointMode.Restart,
  truncate: ffi.CheckpointMode.Truncate,
};

/**
 * A local SQLite database that syncs with a server.
 *
 * ```ts
 * const client = await RejoinClient.open({ path, serverUrl: 'https://sync.example.com' }, { tokens });
 * await client.start();
 * await client.execute('INSERT INTO task (id, title) VALUES (?, ?)', [id, 'buy milk']); // also offline
 * const tasks = await client.query<Task>('SELECT * FROM task');
 * await client.shutdown();
 * ```
 *
 * Call {@link shutdown} when it is no longer needed: garbage collection may be late.
 */
export class RejoinClient extends Decisions {
  /** The full path of the file. */
  readonly path: string;
  #ffi: ffi.RejoinClientLike | undefined;
  #ending: Promise<void> | undefined;
  /** The last status read. */
  #status: SyncStatus;

  private constructor(inner: ffi.RejoinClientLike, config: ClientConfig) {
    super(config.integers ?? 'auto');
    this.#ffi = inner;
    this.path = directly(() => inner.path());
    this.#status = directly(() => raiseStatus(inner.status()));
  }

  /**
   * Opens the file, or creates it; works offline.
   *
   * A file that is already open in this process is shared, and must be opened with the same configuration. The token provider, the
   * transport and the actions of the first opening stay; passing one that the first opening lacked is a ConfigurationError.
   *
   * @throws ConfigurationError with every problem (see {@link ClientConfig}), also those of actions; StorageError if the file cannot be
   *   opened. Nothing was changed.
   */
  static async open(config: ClientConfig, { tokens, transport, actions }: Services = {}): Promise<RejoinClient> {
    const provider = tokens === undefined ? undefined : lowerTokens(tokens);
    const carrier = transport === undefined ? undefined : lowerTransport(transport);
    const inner = await crossing(async () => {
      const lowered = lowerConfig(config);
      const registry = actions?.lower(config.integers ?? 'auto');
      try {
        return await ffi.RejoinClient.open(lowered, provider, carrier, registry);
      } finally {
        (registry as { uniffiDestroy?: () => void } | undefined)?.uniffiDestroy?.();
      }
    });
    return new RejoinClient(inner, config);
  }

  /** Starts background syncing: now, after writes, on server notifications and at each interval. Calling it twice is not an error. */
  async start(): Promise<void> {
    await crossing(async () => this.ffi().start());
  }

  /** Stops syncing; local reads and writes continue, and writes are queued. Calling it twice is not an error. */
  async stop(): Promise<void> {
    await crossing(async () => this.ffi().stop());
  }

  /** Requests a sync now, regardless of backoff and metered policy, and does not wait for it. Starts syncing if it is stopped. */
  async syncNow(): Promise<void> {
    await crossing(async () => this.ffi().syncNow());
  }

  /**
   * Pushes and pulls everything and waits for it: every pending mutation has its verdict, and all changes of the server are applied.
   * Starts syncing if it is stopped. A parked mutation is not an error: the report counts it.
   *
   * @param timeoutMs how long to wait. Default: until one attempt ends. Zero does not wait; fractions are rounded up; a negative number
   *   or NaN is an InvalidInputError.
   * @throws OfflineError without a server, and after the timeout (the sync then continues in the background); UnauthorizedError,
   *   UpgradeRequiredError, ServerError or ProtocolError from the attempt.
   */
  async syncAndWait(timeoutMs?: number): Promise<SyncReport> {
    return crossing(async () => this.ffi().syncAndWait(lowerTimeout(timeoutMs)));
  }

  /** Waits until the first sync is complete; returns at once if it is. Starts syncing if it is stopped. Throws OfflineError after the timeout. */
  async waitForFirstSync(timeoutMs?: number): Promise<void> {
    await crossing(async () => this.ffi().waitForFirstSync(lowerTimeout(timeoutMs)));
  }

  /** The sync status; after {@link shutdown} it is `'stopped'`. */
  status(): SyncStatus {
    if (this.#ffi !== undefined) this.#status = directly(() => raiseStatus(this.ffi().status()));
    return this.#status;
  }

  /**
   * Calls `observer` with the status, now and after each change, until it is cancelled. Changes during a call are not queued: the next
   * call gets the latest status. An error that it throws is printed on the console and has no other effect.
   */
  onStatus(observer: (status: SyncStatus) => unknown): Subscription {
    return this.observe((notify) => {
      const onStatus = (status: ffi.SyncStatus): void => notify(() => observer(raiseStatus(status)), 'an observer of the status');
      return this.ffi().onStatus({ onStatus });
    });
  }

  /** The mutations that the server has not accepted, oldest first. `integers` overrides the configured integer mode. */
  async pending({ integers = this.integers }: DecodeOptions = {}): Promise<PendingMutation[]> {
    const mutations = await crossing(async () => this.ffi().pending());
    return mutations.map((mutation) => raiseMutation(mutation, integers));
  }

  /** The number of mutations in each state. */
  async pendingCounts(): Promise<PendingCounts> {
    return crossing(async () => this.ffi().pendingCounts());
  }

  /** The sync state of a row. Throws InvalidInputError for a table that is not synced. */
  async rowSyncState(table: string, key: SqlParam): Promise<RowSyncState> {
    return raiseRowState(await crossing(async () => this.ffi().rowSyncState(table, lower(key, 'the key'))));
  }

  /**
   * Imports an app's Synchro database: its unsent edits enter the queue, and its rows are visible until the first sync replaces them.
   *
   * The old file is copied and not changed; it must not be open during the call. The import is one transaction. A repeated call imports
   * only what is new. Works offline with a bundled schema.
   *
   * @throws InvalidInputError if the file is not a Synchro database, or if the schema is not available yet; StorageError if the file is
   * damaged or cannot be copied. Nothing was imported then.
   */
  async importSynchro(path: string): Promise<SynchroImport> {
    return raiseImport(await crossing(async () => this.ffi().importSynchro(path)));
  }

  /** Waits for the server's verdict on a mutation. Throws OfflineError after the timeout; the mutation stays in the queue. */
  async verdict(id: string, timeoutMs?: number): Promise<Verdict> {
    return raiseVerdict(await crossing(async () => this.ffi().verdict(id, lowerTimeout(timeoutMs))));
  }

  /** Reports the device's network state. Going online, or leaving a metered network, starts a sync. */
  setNetwork({ online, metered = false }: { online: boolean; metered?: boolean }): void {
    directly(() => this.ffi().setNetwork(online, metered));
  }

  /** Reports that the app came to the foreground: syncs now, unless the server has set a waiting time. */
  foreground(): void {
    directly(() => this.ffi().foreground());
  }

  /** Reports that the token provider has new credentials: syncing that waits for them tries again. */
  async credentialsChanged(): Promise<void> {
    await crossing(async () => this.ffi().credentialsChanged());
  }

  /**
   * Releases the file: rolls back open transactions and drops every lock, as iOS requires of an app in the background. Nothing that was
   * committed is lost. Calls throw SuspendedError until {@link resume}.
   */
  async suspend(): Promise<void> {
    await crossing(async () => this.ffi().suspend());
  }

  /** Opens the file again after {@link suspend}; watched queries run once, to show changes made in between. */
  async resume(): Promise<void> {
    await crossing(async () => this.ffi().resume());
  }

  /**
   * Shuts the client down: earlier writes complete, open transactions are rolled back, watches and observers end, syncing stops, and the
   * file is closed. Pending mutations stay in the file. Later calls throw EndedError; a second shutdown is not an error.
   */
  shutdown(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /** A JSON report for a bug report, without row data and credentials. */
  async diagnose(): Promise<unknown> {
    return JSON.parse(await crossing(async () => this.ffi().diagnose())) as unknown;
  }

  /** Moves the write-ahead log into the file, for instance before copying it. If a reader or writer blocks it, `busy` is true. */
  async checkpoint(mode: CheckpointMode): Promise<{ busy: boolean; pages: number; moved: number }> {
    const { busy, pages, moved } = await crossing(async () => this.ffi().checkpoint(CHECKPOINT[mode]));
    return { busy, pages: Number(pages), moved: Number(moved) };
  }

  /** @internal */
  protected override ffi(): ffi.RejoinClientLike {
    if (this.#ffi === undefined) throw new EndedError('the client was shut down');
    return this.#ffi;
  }

  async #end(): Promise<void> {
    const inner = this.ffi();
    try {
      await crossing(() => inner.shutdown());
    } catch (error) {
      this.#ending = undefined; // The client is still open, and `shutdown` may be called again.
      throw error;
    }
    this.#status = stopped(this.status());
    this.cancelAll();
    this.#ffi = undefined;
    (inner as { uniffiDestroy?: () => void }).uniffiDestroy?.();
  }
}
