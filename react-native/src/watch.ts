/**
 * Watched queries: their rows now, and again after each commit that changes them, whoever wrote.
 *
 * Promise: whoever is slow skips what is stale and never the latest; after the end nothing more comes, and nobody waits for ever.
 * Border: pulled over the border one result at a time; nothing is called back by the engine.
 */
import { crossing, directly, type ffi, lowerAll, statementText } from './border';
import { report, Subscription, tell } from './callback';
import { CallbackError, EndedError, type RejoinError } from './errors';
import { type DecodeOptions, type Row, RowBuffer } from './row-buffer';
import type { SqlParam } from './value';

/** How a query is watched. */
export interface WatchOptions extends DecodeOptions {
  /** The columns that identify a row. With them each update says which rows are new, which have changed, and which are gone. */
  readonly key?: readonly string[] | undefined;
  /** Ends the watch when it is aborted; a loop over it then ends as if there were nothing more. */
  readonly signal?: AbortSignal | undefined;
}

/** Who hears of a watched query. */
export interface WatchHandlers<T> {
  /**
   * Takes each new result: the first at once. While a promise that it returns is not settled, nothing is fetched; then comes the
   * latest. What it throws goes to `onError` as a {@link CallbackError}, and the watch goes on.
   */
  readonly onRows: (rows: T[], update: WatchUpdate<T>) => unknown;
  /**
   * Hears that the query failed: once if it does not compile, else for each commit after which it fails, for instance because
   * its table was dropped. Without it errors are shown on the console.
   */
  readonly onError?: ((error: RejoinError) => unknown) | undefined;
}

/** A new result of a watched query. */
export interface WatchUpdate<T> {
  /** All rows. */
  readonly rows: T[];
  /** Against the update before, where a `key` was given: rows by their place, from 0. */
  readonly difference?: RowDifference;
}

/** How a result differs from the one before. */
export interface RowDifference {
  /** Rows of this result whose key was not there before; all of them the first time. */
  readonly added: readonly number[];
  /** Rows of this result whose key was there with other values. */
  readonly changed: readonly number[];
  /** Rows of the result before whose key is gone. */
  readonly removed: readonly number[];
}

/**
 * A query to be watched; nothing runs until somebody loops over it, and each loop is a watch of its own.
 *
 * ```ts
 * for await (const tasks of client.watch<Task>('SELECT * FROM task ORDER BY rank')) {
 *   render(tasks); // Leaving the loop ends the watch.
 * }
 * ```
 *
 * The loop ends when the client is shut down, and throws if the query fails.
 */
export class Watch<T = Row> implements AsyncIterable<T[]> {
  readonly #begin: () => ffi.QueryWatchLike;
  readonly #options: WatchOptions;

  /** @internal */
  constructor(client: () => ffi.RejoinClientLike, sql: string, params: readonly SqlParam[], options: WatchOptions) {
    this.#begin = () => directly(() => client().watch(statementText(sql), lowerAll(params), [...(options.key ?? [])]));
    this.#options = options;
  }

  /** The results, each as all its rows. */
  [Symbol.asyncIterator](): AsyncIterator<T[], undefined> {
    const pull = this.#pull();
    return iterator(pull, (update) => update.rows);
  }

  /** The results with what is new about each; needs a `key` for that. */
  updates(): AsyncIterable<WatchUpdate<T>> {
    return { [Symbol.asyncIterator]: () => iterator(this.#pull(), (update) => update) };
  }

  /** Hands each result to a function, until the subscription is cancelled. @internal */
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

/** One watch: asked for the next result until it ends. */
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

  /** The next result; undefined when there will be none. Whoever asks before the last has come gets the one after it. */
  next(): Promise<WatchUpdate<T> | undefined> {
    const next = this.#waiting.then(() => this.#next());
    this.#waiting = next.catch(() => undefined);
    return next;
  }

  /** Ends it, and whoever waits in `next`. */
  end(): void {
    this.#ended = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    const watch = this.#watch;
    this.#watch = undefined;
    if (watch === undefined) return;
    directly(() => watch.cancel());
    (watch as { uniffiDestroy?: () => void }).uniffiDestroy?.();
  }

  /** A watch that cannot begin is over: nobody asks for ever. */
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
      // A client that ends before the first result: nothing failed, there is nothing more.
      if (error instanceof EndedError) return undefined;
      throw error;
    });
    // Cancelled while this one was on its way: whoever cancelled wants no more.
    if (this.#ended || update === undefined) {
      this.end();
      return undefined;
    }
    const rows = new RowBuffer<T>(new Uint8Array(update.rows), this.#options).toArray();
    return update.difference === undefined ? { rows } : { rows, difference: update.difference };
  }
}

/** By hand: a generator would let `return` wait for a `next` that may never come. */
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
