/**
 * Calls from the engine to functions of the app, and the changes that observers receive.
 *
 * An error that a function throws or rejects with is printed on the console and ends nothing. After a cancellation no call begins, not
 * even one that was already scheduled.
 */
import { ffi } from './border';
import { raise } from './statement';
import type { IntegerMode, SqlValue } from './value';

/**
 * A registered callback, active until it is cancelled or the client is shut down.
 *
 * ```ts
 * const subscription = client.onStatus(({ state }) => render(state));
 * // When the screen is closed:
 * subscription.cancel();
 * ```
 *
 * The client holds a reference to it: a subscription that is not cancelled stays active until the client is shut down.
 */
export class Subscription {
  #end: (() => void) | undefined;
  readonly #forget: (() => void)[] = [];

  /** Calls `end` once, at the first {@link cancel}. The client creates the subscriptions of an app; this is for fakes in tests. */
  constructor(end: () => void) {
    this.#end = end;
  }

  /** Whether it was cancelled or its client was shut down. */
  get isCancelled(): boolean {
    return this.#end === undefined;
  }

  /** Ends it: no call begins after this. May be called in the callback itself, and more than once. */
  cancel(): void {
    const end = this.#end;
    this.#end = undefined;
    end?.();
    for (const forget of this.#forget.splice(0)) forget();
  }

  /** Registers a function that is called at the end. @internal */
  onEnd(forget: () => void): void {
    this.#forget.push(forget);
  }
}

/** Calls a function of the app and reports what it throws or later rejects with. */
export function tell(call: () => unknown, where: string): void {
  try {
    const result = call();
    if (isThenable(result)) result.then(undefined, (error: unknown) => report(error, where));
  } catch (error) {
    report(error, where);
  }
}

/** Prints an error of an app function that no caller receives. */
export function report(error: unknown, where: string): void {
  console.error(`rejoin: ${where} threw`, error);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** The tables and rows changed by one commit, or by several during a call of the observer. */
export interface Change {
  /** Whether the app on this device wrote, or the server. */
  readonly origin: 'local' | 'remote';
  /** The tables, with the keys of the rows if available, as for synced tables. */
  readonly tables: readonly { readonly name: string; readonly keys?: readonly SqlValue[] }[];
  /** Whether the queue, or the sync state of any row, changed. */
  readonly queue: boolean;
}

/** @internal */
export function raiseChange(change: ffi.Change, integers: IntegerMode): Change {
  return {
    origin: change.origin === ffi.ChangeOrigin.Local ? 'local' : 'remote',
    tables: change.tables.map(({ name, keys }) => ({
      name,
      ...(keys === undefined ? {} : { keys: keys.map((key) => raise(key, integers)) }),
    })),
    queue: change.queue,
  };
}
