/**
 * Watched queries: their rows now, and again after each local or remote commit that changes them.
 *
 * A slow consumer skips intermediate results and always gets the latest one. After the end no result follows, and every pending `next`
 * is settled. Results are pulled from the engine one at a time; there are no callbacks.
 */
import { asyncIterator } from './async-iterator';
import { crossing, directly, type ffi } from './border';
import { report, Subscription, tell } from './callback';
import { CallbackError, ClosedError, type RejoinError } from './errors';
import { type DecodeOptions, type Row, RowBuffer } from './row-buffer';
import { lowerAll, statementText } from './statement';
import type { SqlParam } from './value';

/** Options of a watch. */
export interface WatchOptions extends DecodeOptions {
  /** The columns that identify a row. With them each update lists the added, changed and removed rows. */
  readonly key?: readonly string[] | undefined;
  /** Ends the watch when it is aborted; a loop over it then ends normally. */
  readonly signal?: AbortSignal | undefined;
}

/** The handlers of a watched query. */
export interface WatchHandlers<T> {
  /**
   * Called with each new result, the first at once. While a promise that it returns is pending, no result is fetched; the next call gets
   * the latest. An error that it throws goes to `onError` as a {@link CallbackError}, and the watch continues.
   */
  readonly onRows: (rows: T[], update: WatchUpdate<T>) => unknown;
  /**
   * Called when the query fails: once if it does not compile, otherwise for each commit after which it fails, for instance because its
   * table was dropped. Without it errors are printed on the console.
   */
  readonly onError?: ((error: RejoinError) => unknown) | undefined;
}

/** A new result of a watched query. */
export interface WatchUpdate<T> {
  /** All rows. */
  readonly rows: T[];
  /** The difference from the previous update, if a `key` was given. */
  readonly difference?: RowDifference;
}

/** How a result differs from the previous one; rows by their index, from 0. */
export interface RowDifference {
  /** Rows of this result with a new key; all rows of the first result. */
  readonly added: readonly number[];
  /** Rows of this result whose key had other values before. */
  readonly changed: readonly number[];
  /** Rows of the previous result whose key no longer exists. */
  readonly removed: readonly number[];
}

/** A query that a loop watches: a {@link Watch}, or a fake. */
export interface WatchedQuery<T> extends AsyncIterable<T[]> {
  updates(): AsyncIterable<WatchUpdate<T>>;
}

/**
 * A watchable query. Nothing runs until a loop starts, and each loop is a separate watch.
 *
 * ```ts
 * for await (const tasks of client.watch<Task>('SELECT * FROM task ORDER BY rank')) {
 *   render(tasks); // Leaving the loop ends the watch.
 * }
 * ```
 *
 * The loop ends when the client is shut down and throws if the query fails.
 */
export class Watch<T = Row> implements WatchedQuery<T> {
  readonly #begin: () => ffi.QueryWatchLike;
  readonly #options: WatchOptions;

  /** @internal */
  constructor(client: () => ffi.RejoinClientLike, sql: string, params: readonly SqlParam[], options: WatchOptions) {
    this.#begin = () => directly(() => client().watch(statementText(sql), lowerAll(params), [...(options.key ?? [])]));
    this.#options = options;
  }

  /** Iterates over the results; each has all its rows. */
  [asyncIterator](): AsyncIterator<T[], undefined> {
    const pull = this.#pull();
    return iterator(pull, (update) => update.rows);
  }

  /** Iterates over the results with the difference of each, which requires a `key`. */
  updates(): AsyncIterable<WatchUpdate<T>> {
    return { [asyncIterator]: () => iterator(this.#pull(), (update) => update) };
  }

  /** Calls the handlers with each result until the subscription is cancelled. @internal */
  subscribe(handlers: WatchHandlers<T>): Subscription {
    const pull = this.#pull();
    const subscription = new Subscription(() => pull.end());
    void follow(pull, subscription, handlers);
    return subscription;
  }

  #pull(): Pull<T> {
    return new Pull<T>(this.#begin, this.#options);
  }
}

/** One running watch, which pulls results until it ends. */
class Pull<T> {
  #watch: ffi.QueryWatchLike | undefined;
  #waiting: Promise<unknown> = Promise.resolve();
  #ended = false;
  readonly #begin: () => ffi.QueryWatchLike;
  readonly #options: WatchOptions;
  readonly #onAbort = (): void => this.end();

  constructor(begin: () => ffi.QueryWatchLike, options: WatchOptions) {
    this.#begin = begin;
    this.#options = options;
    if (options.signal?.aborted === true) this.#ended = true;
    else options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** The next result; undefined after the end. Concurrent calls get successive results. */
  next(): Promise<WatchUpdate<T> | undefined> {
    const next = this.#waiting.then(() => this.#next());
    this.#waiting = next.catch(() => undefined);
    return next;
  }

  /** Ends the watch and any pending `next`. */
  end(): void {
    this.#ended = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    const watch = this.#watch;
    this.#watch = undefined;
    if (watch === undefined) return;
    directly(() => watch.cancel());
    (watch as { uniffiDestroy?: () => void }).uniffiDestroy?.();
  }

  /** Starts the engine's watch; a failure to start ends this one, so that no loop retries forever. */
  #first(): ffi.QueryWatchLike {
    try {
      return this.#begin();
    } catch (error) {
      this.end();
      throw error;
    }
  }

  async #next(): Promise<WatchUpdate<T> | undefined> {
    if (this.#ended) return undefined;
    const watch = (this.#watch ??= this.#first());
    const update = await crossing(() => watch.next()).catch((error: unknown) => {
      // The client was shut down before the first result, which is a normal end.
      if (error instanceof ClosedError) return undefined;
      throw error;
    });
    // A result that arrives after a cancellation is dropped.
    if (this.#ended || update === undefined) {
      this.end();
      return undefined;
    }
    const rows = new RowBuffer<T>(new Uint8Array(update.rows), this.#options).toArray();
    return update.difference === undefined ? { rows } : { rows, difference: update.difference };
  }
}

/** Not a generator, because its `return` would wait for a pending `next` that may never settle. */
function iterator<T, V>(pull: Pull<T>, value: (update: WatchUpdate<T>) => V): AsyncIterator<V, undefined> {
  const done = { done: true, value: undefined } as const;
  return {
    async next() {
      try {
        const update = await pull.next();
        return update === undefined ? done : { done: false, value: value(update) };
      } catch (error) {
        pull.end();
        throw error;
      }
    },
    async return() {
      pull.end();
      return done;
    },
  };
}

async function follow<T>(pull: Pull<T>, subscription: Subscription, handlers: WatchHandlers<T>): Promise<void> {
  const fail = (error: RejoinError): void => {
    if (handlers.onError === undefined) report(error, 'a watched query');
    else tell(() => handlers.onError?.(error), 'onError of a watch');
  };
  for (;;) {
    let update: WatchUpdate<T> | undefined;
    try {
      update = await pull.next();
      if (update === undefined) break;
    } catch (error) {
      if (!subscription.isCancelled) fail(error as RejoinError);
      continue;
    }
    if (subscription.isCancelled) break;
    try {
      await handlers.onRows(update.rows, update);
    } catch (error) {
      fail(new CallbackError('onRows of a watch threw', { cause: error }));
    }
  }
  subscription.cancel();
}
