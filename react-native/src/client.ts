/**
 * The client: opening, the handles, syncing in the background, the status and shutdown.
 *
 * Everything except syncing works offline. A shutdown ends all running calls, and every promise of a method is settled. Reading and
 * writing are in `local.ts`; each handle has its own file.
 */
import type { Actions } from './actions';
import { crossing, directly, ffi } from './border';
import type { Subscription } from './callback';
import { lowerConfig, type RejoinConfig } from './config';
import type { RejoinDatabase } from './database';
import { Engine } from './engine';
import { LocalClient } from './local';
import { QueueHandle } from './queue';
import { SchemaHandle } from './schema';
import { raiseStatus, stopped, type SyncStatus } from './status';
import { StorageHandle } from './storage';
import { SyncHandle } from './sync';
import { lowerTokens, type TokenFunction, type TokenProvider } from './tokens';
import { type HttpTransport, lowerTransport } from './transport';

/** Objects that the app provides. */
export interface Services {
  /**
   * Returns the user's token: an object, or only the function. Without it requests carry the configured user id, which a server accepts
   * only from its own machine.
   */
  readonly tokens?: TokenProvider | TokenFunction | undefined;
  /** Replaces the built-in HTTP client. */
  readonly transport?: HttpTransport | undefined;
  /** The actions for `perform`. */
  readonly actions?: Actions | undefined;
}

/**
 * A local SQLite database that syncs with a server.
 *
 * ```ts
 * const client = await RejoinClient.open({ path, server: 'https://sync.example.com' }, { tokens });
 * await client.start();
 * await client.execute('INSERT INTO task (id, title) VALUES (?, ?)', [id, 'buy milk']); // also offline
 * const tasks = await client.query<Task>('SELECT * FROM task');
 * await client.shutdown();
 * ```
 *
 * The other calls are on four handles: {@link queue}, {@link sync}, {@link schema} and {@link storage}. A handle may be kept and passed on;
 * after the shutdown its calls throw ClosedError. Code that takes a {@link RejoinDatabase} can be tested with a fake.
 *
 * Call {@link shutdown} when it is no longer needed: garbage collection may be late.
 */
export class RejoinClient extends LocalClient implements RejoinDatabase {
  /** The full path of the file. */
  readonly path: string;
  /** Pending and parked mutations, decisions about them, verdicts and the history. */
  readonly queue: QueueHandle;
  /** Syncing on request, the network, the foreground, suspension. */
  readonly sync: SyncHandle;
  /** The app's own tables and indexes. */
  readonly schema: SchemaHandle;
  /** The file: checkpoint, reset, import, diagnosis. */
  readonly storage: StorageHandle;
  #ending: Promise<void> | undefined;
  /** The last status read. */
  #status: SyncStatus;

  private constructor(engine: Engine) {
    super(engine);
    this.path = directly(() => engine.ffi.path());
    this.#status = directly(() => raiseStatus(engine.ffi.status()));
    this.queue = new QueueHandle(engine);
    this.sync = new SyncHandle(engine);
    this.schema = new SchemaHandle(engine);
    this.storage = new StorageHandle(engine);
  }

  /**
   * Opens the file, or creates it; works offline.
   *
   * A file that is already open in this process is shared, and must be opened with the same configuration. Its token
   * provider, transport and actions are replaced by those that are given now, for example after a reload; one of a kind that the first
   * opening lacked is a ConfigurationError.
   *
   * @throws ConfigurationError with every problem (see {@link RejoinConfig}), also those of actions; StorageError if the file cannot be
   *   opened. Nothing was changed.
   */
  static async open(config: RejoinConfig, { tokens, transport, actions }: Services = {}): Promise<RejoinClient> {
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
    return new RejoinClient(new Engine(inner, config.integers ?? 'auto'));
  }

  /** Starts background syncing: now, after writes, on server notifications and at each interval. Calling it twice is not an error. */
  async start(): Promise<void> {
    await this.engine.call((inner) => inner.start());
  }

  /** Stops syncing; local reads and writes continue, and writes are queued. Calling it twice is not an error. */
  async stop(): Promise<void> {
    await this.engine.call((inner) => inner.stop());
  }

  /** The sync status; after {@link shutdown} it is `'stopped'`. */
  status(): SyncStatus {
    if (this.engine.isOpen) this.#status = directly(() => raiseStatus(this.engine.ffi.status()));
    return this.#status;
  }

  /**
   * Calls `observer` with the status, now and after each change, until it is cancelled. Changes during a call are not queued: the next
   * call gets the latest status. An error that it throws is printed on the console and has no other effect.
   */
  onStatus(observer: (status: SyncStatus) => unknown): Subscription {
    return this.engine.observe((inner, notify) => {
      const onStatus = (status: ffi.SyncStatus): void => notify(() => observer(raiseStatus(status)), 'an observer of the status');
      return inner.onStatus({ onStatus });
    });
  }

  /**
   * Shuts the client down: earlier writes complete, open transactions are rolled back, watches and observers end, syncing stops, and the
   * file is closed. Pending mutations stay in the file. Later calls throw ClosedError; a second shutdown is not an error.
   */
  shutdown(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    const inner = this.engine.ffi;
    try {
      await crossing(() => inner.shutdown());
    } catch (error) {
      this.#ending = undefined; // The client is still open, and `shutdown` may be called again.
      throw error;
    }
    this.#status = stopped(this.status());
    this.engine.release();
  }
}
