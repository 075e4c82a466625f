/**
 * Subscriptions to streams: rows that the device holds only while the app subscribes to them. `sync.ts` has the calls.
 *
 * A subscription does not keep its client open.
 */
import { crossing, directly, ffi, REFUSAL } from './border';
import { lowerTimeout } from './config';
import type { Engine } from './engine';
import { InvalidInputError, type RefusalCode } from './errors';
import { wellFormed } from './value';

/** The parameters of a subscription by name. An integer is a number or a bigint, a UUID is a text. */
export type StreamParameters = { readonly [name: string]: string | number | bigint };

/** Options of a subscription. */
export interface SubscribeOptions {
  /**
   * How long it lasts after the app no longer holds it, in milliseconds by the device's clock; then the rows leave the device. Fractions
   * are rounded up. Default: 24 hours.
   */
  readonly ttlMs?: number | undefined;
  /** From 0 to 255; lower ones are loaded first. Default: 3. */
  readonly priority?: number | undefined;
}

/** Whether the rows of a subscription are on the device, a union by `kind`. */
export type StreamStatus =
  /** No sync has returned its state yet. */
  | { readonly kind: 'waiting' }
  /** Its rows are being fetched. */
  | { readonly kind: 'loading' }
  /** All its rows are here, as of the last sync. Also after a restart and offline. */
  | { readonly kind: 'current' }
  /** The server refuses it; it brings no rows. Each sync tries it again. The code is for programs, the message for developers. */
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly message: string };

/** A subscription of the file; from {@link SyncHandle.subscriptions}. */
export interface SubscribedStream {
  /** The stream's name. */
  readonly stream: string;
  /** The parameters by name, as texts. */
  readonly parameters: { readonly [name: string]: string };
  /** Lower ones are loaded first. */
  readonly priority: number;
  /** How long it lasts after the app no longer holds it, in milliseconds. */
  readonly ttlMs: number;
  /** When it ends: milliseconds since 1970. Omitted while the app holds it. */
  readonly endsMs?: number;
  /** Whether its rows are here. */
  readonly status: StreamStatus;
}

/**
 * A subscription to a stream that the app holds: it does not expire. From {@link SyncHandle.subscribe}.
 *
 * When the last one to the same rows is released, its ttl begins; so it does when the client is shut down.
 */
export class StreamSubscription {
  /** The stream's name. */
  readonly stream: string;
  /** The parameters by name, as texts. */
  readonly parameters: { readonly [name: string]: string };
  readonly #ffi: ffi.StreamSubscriptionLike;

  /** @internal */
  constructor(inner: ffi.StreamSubscriptionLike, stream: string, parameters: { readonly [name: string]: string }) {
    this.#ffi = inner;
    this.stream = stream;
    this.parameters = parameters;
  }

  /**
   * Whether the rows are here; {@link SyncHandle.onSubscriptions} reports changes. `'waiting'` also after {@link release} and
   * {@link unsubscribe}, and after a reset of the file has removed the subscription.
   */
  get status(): StreamStatus {
    return raiseStreamStatus(directly(() => this.#ffi.status()));
  }

  /**
   * Waits until all rows are here; returns at once if they are. Starts syncing if it is stopped.
   *
   * @param timeoutMs how long to wait. Default: until there is a network. Zero does not wait; fractions are rounded up.
   * @throws SubscriptionRefusedError with the server's reason; OfflineError after the timeout; InvalidInputError after {@link release}
   *   and {@link unsubscribe}, or if a reset of the file has removed the subscription.
   */
  async firstSync(timeoutMs?: number): Promise<void> {
    await crossing(async () => this.#ffi.firstSync(lowerTimeout(timeoutMs)));
  }

  /**
   * Ends the subscription now, unless the app holds another one to the same rows. While syncing runs, a pass begins, and the rows leave the
   * device; offline they leave with the next one. Edits of these rows that wait are sent first. Ending twice is not an error.
   *
   * @throws SuspendedError, or another error of writing the file: then its ttl begins instead.
   */
  async unsubscribe(): Promise<void> {
    await crossing(() => this.#ffi.unsubscribe());
  }

  /** The ttl begins, unless the app holds another subscription to the same rows. Releasing twice is not an error. */
  release(): void {
    directly(() => this.#ffi.release());
  }
}

/** @internal */
export async function subscribe(
  engine: Engine,
  stream: string,
  given: StreamParameters,
  { ttlMs, priority }: SubscribeOptions,
): Promise<StreamSubscription> {
  const parameters = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, lowerParameter(value, `parameter ${name}`)]));
  const inner = await engine.call(async (client) =>
    client.subscribe(wellFormed(stream, 'the stream'), new Map(Object.entries(parameters)), lowerTtl(ttlMs), lowerPriority(priority)),
  );
  return new StreamSubscription(inner, stream, parameters);
}

function lowerParameter(value: unknown, what: string): string {
  if (typeof value === 'string') return wellFormed(value, what);
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  throw new InvalidInputError(`${what} is ${String(value)}; give a string, a whole number or a bigint`);
}

function lowerTtl(ttlMs: number | undefined): bigint | undefined {
  if (ttlMs === undefined) return undefined;
  if (typeof ttlMs === 'number' && ttlMs >= 0) return BigInt(Math.min(Math.ceil(ttlMs), Number.MAX_SAFE_INTEGER));
  throw new InvalidInputError(`ttlMs is ${String(ttlMs)}, no number of milliseconds from zero, which ends at once`);
}

function lowerPriority(priority: number | undefined): number | undefined {
  if (priority === undefined || (Number.isInteger(priority) && priority >= 0 && priority <= 255)) return priority;
  throw new InvalidInputError(`priority is ${String(priority)}, not a whole number between 0 and 255`);
}

/** @internal */
export function raiseSubscribed({ stream, parameters, priority, ttlMs, endsMs, status }: ffi.SubscribedStream): SubscribedStream {
  return {
    stream,
    parameters: Object.fromEntries(parameters),
    priority,
    ttlMs: Number(ttlMs),
    ...(endsMs === undefined ? {} : { endsMs: Number(endsMs) }),
    status: raiseStreamStatus(status),
  };
}

function raiseStreamStatus(status: ffi.StreamStatus): StreamStatus {
  switch (status.tag) {
    case ffi.StreamStatus_Tags.Waiting:
      return { kind: 'waiting' };
    case ffi.StreamStatus_Tags.Loading:
      return { kind: 'loading' };
    case ffi.StreamStatus_Tags.Current:
      return { kind: 'current' };
    case ffi.StreamStatus_Tags.Refused:
      return { kind: 'refused', code: REFUSAL[status.inner.code], message: status.inner.message };
  }
}
