/**
 * Handles of the engine that asynchronous code holds: begun, used, and ended exactly once.
 *
 * Promise: however the code that holds it ends (well, by throwing, by an abort while it hangs), the handle is ended, and the promise
 * is settled.
 * Border: what a handle is for, and how it ends well or badly, is said in `transaction.ts`.
 */
import { crossing } from './border';
import { InvalidInputError } from './errors';

/** How a kind of handle is named and ended. */
export interface Kind<H> {
  readonly name: string;
  readonly well: (handle: H) => Promise<void>;
  readonly badly: (handle: H) => Promise<void>;
}

/** A handle until it is ended. */
export class Open<H> {
  #handle: H | undefined;
  readonly #kind: Kind<H>;

  constructor(handle: H, kind: Kind<H>) {
    this.#handle = handle;
    this.#kind = kind;
  }

  /** Calls the engine, unless it has ended. */
  call<T>(what: (handle: H) => Promise<T>): Promise<T> {
    return crossing(async () => {
      if (this.#handle === undefined) throw new InvalidInputError(`the ${this.#kind.name} has ended; begin a new one`);
      return what(this.#handle);
    });
  }

  /** Ends it and lets go of it, which garbage collection would do late or never. Ending it twice is no error. */
  async end(how: 'well' | 'badly'): Promise<void> {
    const handle = this.#handle;
    if (handle === undefined) return;
    this.#handle = undefined;
    try {
      await crossing(() => this.#kind[how](handle));
    } finally {
      (handle as { uniffiDestroy?: () => void }).uniffiDestroy?.();
    }
  }
}

/** Begins, runs the body, and ends well if that does; by the signal it is ended at once and badly, wherever the body is. */
export async function hold<H, T>(
  begin: () => Promise<H>,
  kind: Kind<H>,
  body: (open: Open<H>) => Promise<T> | T,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal?.aborted === true) throw reason(signal);
  const begun = crossing(begin).then((handle) => new Open(handle, kind));
  const open = await unlessAborted(begun, signal, (late) => void late.end('badly').catch(() => undefined));
  let result: T;
  try {
    result = await unlessAborted(Promise.resolve(open).then(body), signal);
  } catch (error) {
    // Waited for, so that whoever sees the error sees the state before. Where it has ended already, that is no second error.
    await open.end('badly').catch(() => undefined);
    throw error;
  }
  await open.end('well');
  return result;
}

/** What `promise` gives, or the reason of an abort that comes before; what is given after that goes to `late`. */
function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  late: (value: T) => void = () => undefined,
): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    let aborted = signal.aborted;
    const onAbort = (): void => {
      aborted = true;
      reject(reason(signal));
    };
    if (aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    const settled = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    // What is rejected after an abort is nobody's to hear: `reject` does nothing then.
    promise.then(
      (value) => settled(() => (aborted ? late(value) : resolve(value))),
      (error) => settled(() => reject(error as Error)),
    );
  });
}

/** Why it was aborted; an engine's own `AbortSignal` may not know. */
function reason(signal: AbortSignal): Error {
  const given: unknown = signal.reason;
  return given === undefined ? Object.assign(new Error('aborted'), { name: 'AbortError' }) : (given as Error);
}
