/**
 * The app's functions as the engine calls them.
 *
 * Promise: nothing that an app's function throws, or rejects with, gets lost or ends anything: it is shown on the console. No call
 * is made after a cancellation, not even one that was on its way.
 * Border: what is called, and with what, is said where the subscription is made.
 */

/**
 * Keeps a function called until it is cancelled, or the client is shut down.
 *
 * ```ts
 * const subscription = client.onStatus(({ state }) => render(state));
 * // and when the screen goes:
 * subscription.cancel();
 * ```
 *
 * It need not be kept: the client does. So what is not cancelled is called as long as the client lives.
 */
export class Subscription {
  #end: (() => void) | undefined;
  readonly #forget: (() => void)[] = [];

  /** @internal */
  constructor(end: () => void) {
    this.#end = end;
  }

  /** Whether it was cancelled, or has ended with its client. */
  get isCancelled(): boolean {
    return this.#end === undefined;
  }

  /** No call begins after this; may be called from the function itself, and twice. */
  cancel(): void {
    const end = this.#end;
    this.#end = undefined;
    end?.();
    for (const forget of this.#forget.splice(0)) forget();
  }

  /** Tells whoever keeps it, or waits for what it brings. @internal */
  onEnd(forget: () => void): void {
    this.#forget.push(forget);
  }
}

/** Calls a function of the app. What it throws, or rejects with later, is reported. */
export function tell(call: () => unknown, where: string): void {
  try {
    const result = call();
    if (isThenable(result)) result.then(undefined, (error: unknown) => report(error, where));
  } catch (error) {
    report(error, where);
  }
}

/** Shows what a function of the app threw, where nobody else would. */
export function report(error: unknown, where: string): void {
  console.error(`rejoin: ${where} threw`, error);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
