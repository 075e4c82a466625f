/**
 * Verdicts, which are reported until the app acknowledges them.
 *
 * A loop gets every unacknowledged verdict, then new ones as they arrive, each once; a slow loop gets several in one batch. The file stores
 * unacknowledged verdicts. The calls are in `queue.ts`.
 */
import { asyncIterator } from './async-iterator';
import { ffi } from './border';
import type { Subscription } from './callback';
import { type ParkReason, raiseReason } from './mutations';
import type { IntegerMode } from './value';
import { raiseDetail, type VerdictDetail } from './verdict-detail';

/** The verdict on a mutation: accepted and visible in the rows, parked, or unknown to this file. */
export type Verdict =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'parked'; readonly reason?: ParkReason; readonly detail?: VerdictDetail }
  | { readonly kind: 'unknown' };

/** The verdict on one attempt of a mutation. */
export interface VerdictEntry {
  /** Increasing and never reused; for `acknowledgeVerdicts`. */
  readonly number: number;
  /** The mutation. */
  readonly id: string;
  /** The number of the attempt, from 1: `retry` starts another, which gets its own verdict. */
  readonly attempt: number;
  /**
   * Accepted and visible in the rows; not accepted, and waiting for the app's decision; discarded after it was sent, and the server's
   * verdict has arrived; or, in the log model, accepted earlier and run again by the authority after earlier changes arrived, with the
   * effect that `detail` shows.
   */
  readonly kind: 'accepted' | 'parked' | 'withdrawn' | 'corrected';
  /** Why it is parked, if it is. */
  readonly reason?: ParkReason;
  /** The mutation that caused the parking, or that undoes the withdrawn one. */
  readonly becauseOf?: string;
  /** The action's name. */
  readonly action?: string;
  /** The server's message, and both versions of each row in conflict. Undefined if absent or longer than 64 KiB: see `pending` then. */
  readonly detail?: VerdictDetail;
  /** When it arrived, by the device's clock. */
  readonly atMs: number;
}

/** Verdicts that the app has not acknowledged. */
export interface Verdicts {
  /** Oldest first. */
  readonly entries: readonly VerdictEntry[];
  /** The number of earlier verdicts that were deleted: the newest 10,000 are kept. */
  readonly missed: number;
}

const KIND: Record<ffi.VerdictKind, VerdictEntry['kind']> = {
  [ffi.VerdictKind.Accepted]: 'accepted',
  [ffi.VerdictKind.Parked]: 'parked',
  [ffi.VerdictKind.Withdrawn]: 'withdrawn',
  [ffi.VerdictKind.Corrected]: 'corrected',
};

/** @internal */
export function raiseVerdicts({ entries, missed }: ffi.Verdicts, integers: IntegerMode): Verdicts {
  return { entries: entries.map((entry) => raiseEntry(entry, integers)), missed };
}

function raiseEntry(entry: ffi.VerdictEntry, integers: IntegerMode): VerdictEntry {
  const { number, id, attempt, kind, reason, becauseOf, action, detail, atMs } = entry;
  return {
    number: Number(number),
    id,
    attempt: Number(attempt),
    kind: KIND[kind],
    ...(reason === undefined ? {} : { reason: raiseReason(reason) }),
    ...(becauseOf === undefined ? {} : { becauseOf }),
    ...(action === undefined ? {} : { action }),
    ...(detail === undefined ? {} : { detail: raiseDetail(detail, integers) }),
    atMs: Number(atMs),
  };
}

/** @internal */
export function raiseVerdict(verdict: ffi.Verdict, integers: IntegerMode): Verdict {
  switch (verdict.tag) {
    case ffi.Verdict_Tags.Accepted:
      return { kind: 'accepted' };
    case ffi.Verdict_Tags.Unknown:
      return { kind: 'unknown' };
    case ffi.Verdict_Tags.Parked: {
      const { reason, detail } = verdict.inner;
      return {
        kind: 'parked',
        ...(reason === undefined ? {} : { reason: raiseReason(reason) }),
        ...(detail === undefined ? {} : { detail: raiseDetail(detail, integers) }),
      };
    }
  }
}

/** Subscribes to verdicts. */
type Begin = (observer: (verdicts: Verdicts) => void) => Subscription;

/** An iterable of verdicts; each loop has its own subscription and gets all of them. @internal */
export function verdictsOf(begin: Begin, signal: AbortSignal | undefined): AsyncIterable<Verdicts> {
  return { [asyncIterator]: () => new VerdictIterator(begin, signal) };
}

/** The iterator of one loop. */
class VerdictIterator implements AsyncIterator<Verdicts, undefined> {
  readonly #begin: Begin;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#end();
  #subscription: Subscription | undefined;
  /** Verdicts that arrived and were not consumed yet. */
  #buffered: Verdicts | undefined;
  #waiting: ((result: IteratorResult<Verdicts, undefined>) => void)[] = [];
  #ended = false;

  constructor(begin: Begin, signal: AbortSignal | undefined) {
    this.#begin = begin;
    this.#signal = signal;
    if (signal?.aborted === true) this.#ended = true;
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  async next(): Promise<IteratorResult<Verdicts, undefined>> {
    if (this.#ended) return { done: true, value: undefined };
    if (this.#subscription === undefined) this.#subscribe();
    const value = this.#buffered;
    if (value !== undefined) {
      this.#buffered = undefined;
      return { done: false, value };
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async return(): Promise<IteratorResult<Verdicts, undefined>> {
    this.#end();
    return { done: true, value: undefined };
  }

  #subscribe(): void {
    try {
      this.#subscription = this.#begin((verdicts) => this.#receive(verdicts));
      // The shutdown of the client ends the subscription too.
      this.#subscription.onEnd(() => this.#end());
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #receive(verdicts: Verdicts): void {
    const next = this.#waiting.shift();
    const before = this.#buffered;
    if (next !== undefined) next({ done: false, value: verdicts });
    else if (before === undefined) this.#buffered = verdicts;
    else this.#buffered = { entries: [...before.entries, ...verdicts.entries], missed: before.missed + verdicts.missed };
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#buffered = undefined;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#subscription?.cancel();
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }
}
