/**
 * The client: opening, syncing, the queue, and the end.
 *
 * Promise: everything but syncing works without a network; whatever is going on when it ends is ended too, and no promise of its
 * methods stays open.
 * Border: reading and writing are inherited from `database.ts`, what an app decides of its mutations from `decisions.ts`.
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

/** What the app provides. */
export interface Services {
  /** Gives the token that names the user. Without it requests carry the configured user, which a server believes on its own machine only. */
  readonly tokens?: TokenProvider | undefined;
  /** Replaces the built-in HTTP. */
  readonly transport?: HttpTransport | undefined;
  /** What `perform` can perform. */
  readonly actions?: Actions | undefined;
}

/** How the write-ahead log is moved into the file; each does what the one before does, and more. */
export type CheckpointMode = 'passive' | 'full' | 'restart' | 'truncate';

const CHECKPOINT: Record<CheckpointMode, ffi.CheckpointMode> = {
  passive: ffi.CheckpointMode.Passive,
  full: ffi.CheckpointMode.Full,
  restart: ffi.CheckpointMode.Restart,
  truncate: ffi.CheckpointMode.Truncate,
};

/**
 * A local database that keeps itself in step with a server.
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
  /** The file, by its full name. */
  readonly path: string;
  #ffi: ffi.RejoinClientLike | undefined;
  #ending: Promise<void> | undefined;
  /** What it said of itself last. */
  #status: SyncStatus;

  private constructor(inner: ffi.RejoinClientLike, config: ClientConfig) {
    super(config.integers ?? 'auto');
    this.#ffi = inner;
    this.path = directly(() => inner.path());
    this.#status = directly(() => raiseStatus(inner.status()));
  }

  /**
   * Opens the file, and makes it if there is none; works offline.
   *
   * A file that is open already in this process is shared, and must be opened with the same configuration. Its token provider, its
   * transport and its actions stay those of the first to open it; to bring one where the first had none is a ConfigurationError.
   *
   * @throws ConfigurationError with every problem, as {@link ClientConfig} says, those of actions too; StorageError where the file cannot be
   *   opened; nothing was changed.
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

  /** Begins to sync in the background: now, after writes, when the server has news, and at each interval. Twice is no error. */
  async start(): Promise<void> {
    await crossing(async () => this.ffi().start());
  }

  /** Ends syncing; local work goes on, and what is written waits. Twice is no error. */
  async stop(): Promise<void> {
    await crossing(async () => this.ffi().stop());
  }

  /** Asks for a sync now, whatever backoff and metered policy say, and does not wait for it. Starts syncing if it was not. */
  async syncNow(): Promise<void> {
    await crossing(async () => this.ffi().syncNow());
  }

  /**
   * Pushes and pulls everything, and waits for it: what was pending has its verdict, and what the server had is here. Starts syncing
   * if it was not started. A parked mutation is no error: the report counts it.
   *
   * @param timeoutMs how long to wait; without it, as long as one attempt takes. Zero does not wait, a part of a millisecond counts as a
   *   whole one; below zero, and NaN, is an InvalidInputError.
   * @throws OfflineError without a server, and after the timeout, when the work goes on in the background; UnauthorizedError,
   *   UpgradeRequiredError, ServerError, ProtocolError as the attempt found them.
   */
  async syncAndWait(timeoutMs?: number): Promise<SyncReport> {
    return crossing(async () => this.ffi().syncAndWait(lowerTimeout(timeoutMs)));
  }

  /** Waits until everything has been here once; at once if it has. Starts syncing if it was not. Throws OfflineError after the timeout. */
  async waitForFirstSync(timeoutMs?: number): Promise<void> {
    await crossing(async () => this.ffi().waitForFirstSync(lowerTimeout(timeoutMs)));
  }

  /** What syncing is doing. After {@link shutdown} it is stopped. */
  status(): SyncStatus {
    if (this.#ffi !== undefined) this.#status = directly(() => raiseStatus(this.ffi().status()));
    return this.#status;
  }

  /**
   * Calls `observer` with the status, now and after each change, until it is cancelled. While it runs, changes are not queued: it gets
   * the latest. What it throws is shown on the console and changes nothing else.
   */
  onStatus(observer: (status: SyncStatus) => unknown): Subscription {
    return this.observe((told) => {
      const onStatus = (status: ffi.SyncStatus): void => told(() => observer(raiseStatus(status)), 'an observer of the status');
      return this.ffi().onStatus({ onStatus });
    });
  }

  /** What the server has not accepted, oldest first. Integers come out as `integers` says, else as the configuration does. */
  async pending({ integers = this.integers }: DecodeOptions = {}): Promise<PendingMutation[]> {
    const mutations = await crossing(async () => this.ffi().pending());
    return mutations.map((mutation) => raiseMutation(mutation, integers));
  }

  /** How many mutations stand where. */
  async pendingCounts(): Promise<PendingCounts> {
    return crossing(async () => this.ffi().pendingCounts());
  }

  /** What a row waits for. Throws InvalidInputError for a table that is not synced. */
  async rowSyncState(table: string, key: SqlParam): Promise<RowSyncState> {
    return raiseRowState(await crossing(async () => this.ffi().rowSyncState(table, lower(key, 'the key'))));
  }

  /**
   * Takes over an app's old Synchro database: what it had not sent is in the queue when this is done, and its rows are seen until the
   * first sync brings the server's.
   *
   * The old file is copied and stays as it is; nobody may have it open meanwhile. All is taken in one transaction, or nothing; made again,
   * the call takes what is new, and nothing twice. Works offline with a bundled schema.
   *
   * @throws InvalidInputError for a file that is no Synchro database, and while no schema is known; StorageError for a damaged one, and
   * where it cannot be copied. Nothing was taken then.
   */
  async importSynchro(path: string): Promise<SynchroImport> {
    return raiseImport(await crossing(async () => this.ffi().importSynchro(path)));
  }

  /** Waits for the server's verdict on a mutation. Throws OfflineError after the timeout; the mutation stays where it is. */
  async verdict(id: string, timeoutMs?: number): Promise<Verdict> {
    return raiseVerdict(await crossing(async () => this.ffi().verdict(id, lowerTimeout(timeoutMs))));
  }

  /** Tells what the device knows of its network. Going online, or leaving a metered network, asks for a sync. */
  setNetwork({ online, metered = false }: { online: boolean; metered?: boolean }): void {
    directly(() => this.ffi().setNetwork(online, metered));
  }

  /** Tells that the app came to the foreground: a sync now, unless the server asked to be left alone. */
  foreground(): void {
    directly(() => this.ffi().foreground());
  }

  /** Tells that the token provider has other credentials than before: whoever needed them tries again. */
  async credentialsChanged(): Promise<void> {
    await crossing(async () => this.ffi().credentialsChanged());
  }

  /**
   * Lets go of the file: rolls back what runs and drops every lock, as iOS demands of an app in the background. Nothing committed is
   * lost; calls throw SuspendedError until {@link resume}.
   */
  async suspend(): Promise<void> {
    await crossing(async () => this.ffi().suspend());
  }

  /** Opens the file again after {@link suspend}; watched queries run once, for what was missed. */
  async resume(): Promise<void> {
    await crossing(async () => this.ffi().resume());
  }

  /**
   * Ends the client: what was handed in before is done, open transactions are rolled back, watches and observers end, syncing stops,
   * the file is closed. What waits for the server stays in the file. Later calls throw EndedError; shutting down twice is no error.
   */
  shutdown(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /** One bundle of JSON for a bug report. It holds no data of the app's rows and no credentials. */
  async diagnose(): Promise<unknown> {
    return JSON.parse(await crossing(async () => this.ffi().diagnose())) as unknown;
  }

  /** Moves the write-ahead log into the file, before a copy of the file is made. Somebody in the way is no error: `busy` says so. */
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
      this.#ending = undefined; // It is still there, and may be shut down again.
      throw error;
    }
    this.#status = stopped(this.status());
    this.cancelAll();
    this.#ffi = undefined;
    (inner as { uniffiDestroy?: () => void }).uniffiDestroy?.();
  }
}
