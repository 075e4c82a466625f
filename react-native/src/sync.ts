/**
 * `client.sync`: syncing on request, subscriptions to streams, and the signals of the app that affect syncing. `start`, `stop` and the status
 * are in `client.ts`.
 */
import { directly, type ffi } from './border';
import type { Subscription } from './callback';
import { lowerTimeout } from './config';
import type { Engine } from './engine';
import { raiseSubscribed, subscribe, type StreamParameters, type StreamSubscription, type SubscribedStream, type SubscribeOptions } from './streams';

/** Syncing beyond {@link RejoinClient.start} and {@link RejoinClient.stop}; from {@link RejoinClient.sync}. */
export class SyncHandle {
  readonly #engine: Engine;

  /** @internal */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Requests a sync now, regardless of backoff and metered policy, and does not wait for it. Starts syncing if it is stopped. */
  async request(): Promise<void> {
    await this.#engine.call((inner) => inner.syncNow());
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
  async run(timeoutMs?: number): Promise<SyncReport> {
    return this.#engine.call((inner) => inner.syncAndWait(lowerTimeout(timeoutMs)));
  }

  /**
   * Syncs, compares the rows of each synced table with the server's, and fetches again those that differ. Pending mutations stay. Starts
   * syncing if it is stopped.
   *
   * Digests are compared first, so a sound file costs about 45 bytes for every thousand rows.
   *
   * @param timeoutMs as {@link run}.
   * @throws as {@link run}; offline, the check is done by a later sync, and the next call returns a new report. InvalidInputError if
   *   the server has no digests, as a Synchro server.
   */
  async doctor(timeoutMs?: number): Promise<DoctorReport> {
    const { tables } = await this.#engine.call((inner) => inner.doctor(lowerTimeout(timeoutMs)));
    const check = ({ table, rows, differing, repaired }: (typeof tables)[number]): TableCheck => ({
      table,
      rows: Number(rows),
      differing: Number(differing),
      repaired: Number(repaired),
    });
    return { tables: tables.map(check) };
  }

  /**
   * Fetches all rows of the synced tables again and waits. Pending mutations stay; rows that the server does not have are removed when all
   * are here. {@link doctor} finds out whether this is necessary, and fetches less.
   *
   * @param timeoutMs as {@link run}.
   * @throws as {@link run}; the rows are then fetched by a later sync.
   */
  async resync(timeoutMs?: number): Promise<SyncReport> {
    return this.#engine.call((inner) => inner.resync(lowerTimeout(timeoutMs)));
  }

  /** Waits until the first sync is complete; returns at once if it is. Starts syncing if it is stopped. Throws OfflineError after the timeout. */
  async firstSync(timeoutMs?: number): Promise<void> {
    await this.#engine.call((inner) => inner.waitForFirstSync(lowerTimeout(timeoutMs)));
  }

  /**
   * Subscribes to the rows of a stream of the server, which the parameters select.
   *
   * ```ts
   * const project = await client.sync.subscribe('project', { project: 42 }, { ttlMs: 3_600_000, priority: 1 });
   * await project.firstSync();
   * // When the screen is closed:
   * project.release();
   * ```
   *
   * The subscription is stored in the file and survives a restart. Offline it is stored too, and the rows come with the next sync; while
   * syncing runs, that begins now. The app holds it until {@link StreamSubscription.release}. A second subscription to the same rows is the
   * same one, with the longer ttl and the lower priority. A server without streams, or a Synchro server, refuses it: its status is
   * `'refused'` after the next sync.
   *
   * @throws InvalidInputError for a value of another type, a negative ttl, an empty name, or more subscriptions than a device can send;
   *   nothing was changed.
   */
  async subscribe(stream: string, parameters: StreamParameters = {}, options: SubscribeOptions = {}): Promise<StreamSubscription> {
    return subscribe(this.#engine, stream, parameters, options);
  }

  /** The subscriptions of the file, by priority: those that the app holds, and those whose ttl runs. Works offline, and while suspended. */
  subscriptions(): SubscribedStream[] {
    return directly(() => this.#engine.ffi.subscriptions()).map(raiseSubscribed);
  }

  /**
   * Calls `observer` with the subscriptions now and after each change, such as of a status, until it is cancelled. Changes during a call are
   * not queued: the next call gets the latest list. The next sync reports the end of a ttl. An error that it throws is printed on the
   * console and has no other effect.
   */
  onSubscriptions(observer: (subscriptions: SubscribedStream[]) => unknown): Subscription {
    return this.#engine.observe((inner, notify) => {
      const onSubscriptions = (list: ffi.SubscribedStream[]): void =>
        notify(() => observer(list.map(raiseSubscribed)), 'an observer of subscriptions');
      return inner.onSubscriptions({ onSubscriptions });
    });
  }

  /** Reports the device's network state. Going online, or leaving a metered network, starts a sync. */
  setNetwork({ online, metered = false }: { online: boolean; metered?: boolean }): void {
    directly(() => this.#engine.ffi.setNetwork(online, metered));
  }

  /** Reports that the app came to the foreground: syncs now, unless the server has set a waiting time. */
  foreground(): void {
    directly(() => this.#engine.ffi.foreground());
  }

  /** Reports that the token provider has new credentials: syncing that waits for them tries again. */
  async credentialsChanged(): Promise<void> {
    await this.#engine.call((inner) => inner.credentialsChanged());
  }

  /**
   * Releases the file: rolls back open transactions and drops every lock, as iOS requires of an app in the background. Nothing that was
   * committed is lost. Calls throw SuspendedError until {@link resume}.
   */
  async suspend(): Promise<void> {
    await this.#engine.call((inner) => inner.suspend());
  }

  /** Opens the file again after {@link suspend}; watched queries run once, to show changes made in between. */
  async resume(): Promise<void> {
    await this.#engine.call((inner) => inner.resume());
  }
}

/** The result of a check of this device's rows against the server's; from {@link SyncHandle.doctor}. */
export interface DoctorReport {
  /** Every synced table that the server has, by name. */
  readonly tables: readonly TableCheck[];
}

/** The result of a check for one table. */
export interface TableCheck {
  /** Its name. */
  readonly table: string;
  /** Rows of it on this device. */
  readonly rows: number;
  /** Rows that were wrong here: missing, present without the server having them, or with other values. Pending edits are not counted. */
  readonly differing: number;
  /** How many of these now have the server's content. */
  readonly repaired: number;
}

/** The result of a sync. */
export interface SyncReport {
  /** Mutations that the server accepted. */
  readonly accepted: number;
  /** Mutations that were parked. */
  readonly parked: number;
  /** Rows received. */
  readonly pulled: number;
  /** Mutations that are still pending. */
  readonly stillPending: number;
}
