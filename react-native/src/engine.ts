/**
 * The engine's client as the package's classes share it: calls, observers, and the end of both at the shutdown.
 *
 * The client and its handles hold one `Engine`; it is not part of the public API.
 */
import { crossing, directly, type ffi } from './border';
import { Subscription, tell } from './callback';
import { ClosedError } from './errors';
import type { IntegerMode } from './value';

/** Calls the app, unless the subscription was cancelled; `where` names the callback in a printed error. */
export type Notify = (call: () => unknown, where: string) => void;

/** One open client of the engine. */
export class Engine {
  /** How integers are decoded unless a call overrides it. */
  readonly integers: IntegerMode;
  #ffi: ffi.RejoinClientLike | undefined;
  /** Keeps subscriptions alive: the engine does not call an observer that was garbage-collected. */
  readonly #subscriptions = new Set<Subscription>();

  constructor(inner: ffi.RejoinClientLike, integers: IntegerMode) {
    this.#ffi = inner;
    this.integers = integers;
  }

  /** Whether the client was not shut down. */
  get isOpen(): boolean {
    return this.#ffi !== undefined;
  }

  /** The engine's client. Throws ClosedError after the shutdown. */
  get ffi(): ffi.RejoinClientLike {
    if (this.#ffi === undefined) throw new ClosedError('the client was shut down');
    return this.#ffi;
  }

  /** Calls the engine and converts its error. */
  call<T>(method: (inner: ffi.RejoinClientLike) => Promise<T>): Promise<T> {
    return crossing(async () => method(this.ffi));
  }

  /** Registers an observer with the engine. */
  observe(begin: (inner: ffi.RejoinClientLike, notify: Notify) => ffi.SubscriptionLike): Subscription {
    let live = true;
    const inner = directly(() => begin(this.ffi, (call, where) => void (live && tell(call, where))));
    return this.keep(
      new Subscription(() => {
        live = false;
        directly(() => inner.cancel());
        (inner as { uniffiDestroy?: () => void }).uniffiDestroy?.();
      }),
    );
  }

  /** Keeps a subscription alive until it is cancelled. */
  keep(subscription: Subscription): Subscription {
    if (subscription.isCancelled) return subscription;
    this.#subscriptions.add(subscription);
    subscription.onEnd(() => this.#subscriptions.delete(subscription));
    return subscription;
  }

  /** Cancels all subscriptions and releases the engine's client, which was shut down. */
  release(): void {
    for (const subscription of [...this.#subscriptions]) subscription.cancel();
    const inner = this.#ffi as { uniffiDestroy?: () => void } | undefined;
    this.#ffi = undefined;
    inner?.uniffiDestroy?.();
  }
}
