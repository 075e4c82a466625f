/**
 * How mutations ended, told until the app says that it knows.
 *
 * Promise: a loop gets every verdict that is not acknowledged, and then new ones as they come, each once; a slow loop gets what came
 * meanwhile together, and nothing is left out.
 * Border: the file remembers what was not acknowledged; what an app does about a parked mutation is in `decisions.ts`.
 */
import { ffi } from './border';
import type { Subscription } from './callback';
import { type ParkReason, raiseReason } from './queue';

/** The end of one attempt of a mutation. */
export interface VerdictEntry {
  /** Rises, and is never given again; for `acknowledgeVerdicts`. */
  readonly number: number;
  /** The mutation. */
  readonly id: string;
  /** Which of its attempts, from 1: `retry` makes another, which has an end of its own. */
  readonly attempt: number;
  /**
   * The server has it, and the rows show it; it was not accepted, and waits for the app's decision; or it was given up after it was
   * sent, and the server's word is here.
   */
  readonly kind: 'accepted' | 'parked' | 'withdrawn';
  /** Why it is parked, if it is. */
  readonly reason?: ParkReason;
  /** The mutation that parked it, or takes back what was withdrawn. */
  readonly becauseOf?: string;
  /** The action's name. */
  readonly action?: string;
  /** The server's words, and both rows of a conflict, as JSON. Undefined if there are none or more than 64 KiB: those are in `pending`. */
  readonly detail?: string;
  /** When it came, by the device's clock. */
  readonly atMs: number;
}

/** Verdicts that the app has not acknowledged. */
export interface Verdicts {
  /** Oldest first. */
  readonly entries: readonly VerdictEntry[];
  /** How many before them are not kept any more: the newest 10,000 are. */
  readonly missed: number;
}

const KIND: Record<ffi.VerdictKind, VerdictEntry['kind']> = {
  [ffi.VerdictKind.Accepted]: 'accepted',
  [ffi.VerdictKind.Parked]: 'parked',
  [ffi.VerdictKind.Withdrawn]: 'withdrawn',
};

/** @internal */
export function raiseVerdicts({ entries, missed }: ffi.Verdicts): Verdicts {
  return { entries: entries.map(raiseEntry), missed };
}

function raiseEntry({ number, id, attempt, kind, reason, becauseOf, action, detail, atMs }: ffi.VerdictEntry): VerdictEntry {
  return {
    number: Number(number),
    id,
    attempt: Number(attempt),
    kind: KIND[kind],
    ...(reason === undefined ? {} : { reason: raiseReason(reason) }),
    ...(becauseOf === undefined ? {} : { becauseOf }),
    ...(action === undefined ? {} : { action }),
    ...(detail === undefined ? {} : { detail }),
    atMs: Number(atMs),
  };
}

/** Begins to hear of verdicts. */
type Begin = (observer: (verdicts: Verdicts) => void) => Subscription;

/** Verdicts to loop over; nothing runs until somebody does, and each loop hears all of them. @internal */
export function verdictsOf(begin: Begin, signal: AbortSignal | undefined): AsyncIterable<Verdicts> {
  return { [Symbol.asyncIterator]: () => new Listening(begin, signal) };
}

/** One loop. */
class Listening implements AsyncIterator<Verdicts, undefined> {
  readonly #begin: Begin;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#end();
  #subscription: Subscription | undefined;
  /** What came and was not asked for yet. */
  #news: Verdicts | undefined;
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
    if (this.#subscription === undefined) this.#listen();
    const value = this.#news;
    if (value !== undefined) {
      this.#news = undefined;
      return { done: false, value };
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async return(): Promise<IteratorResult<Verdicts, undefined>> {
    this.#end();
    return { done: true, value: undefined };
  }

  #listen(): void {
    try {
      this.#subscription = this.#begin((verdicts) => this.#hear(verdicts));
      // With its client, too.
      this.#subscription.onEnd(() => this.#end());
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #hear(verdicts: Verdicts): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next({ done: false, value: verdicts });
    else if (this.#news === undefined) this.#news = verdicts;
    else this.#news = { entries: [...this.#news.entries, ...verdicts.entries], missed: this.#news.missed + verdicts.missed };
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#news = undefined;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#subscription?.cancel();
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }
}
