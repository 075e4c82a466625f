/**
 * Engine handles (transactions and snapshots) that asynchronous code uses and that are ended exactly once.
 *
 * The handle is ended and the promise settled whether the code returns, throws, or hangs and is aborted. `transaction.ts` defines the
 * kinds of handles and how each ends.
 */
import { crossing } from './border';
import { InvalidInputError } from './errors';

/** The name of a kind of handle, and how it ends after success (`well`) and failure (`badly`). */
export interface Kind<H> {
  readonly name: string;
  readonly well: (handle: H) => Promise<void>;
  readonly badly: (handle: H) => Promise<void>;
}

/** An open handle. */
export class Open<H> {
  #handle: H | undefined;
  readonly #kind: Kind<H>;

  constructor(handle: H, kind: Kind<H>) {
    this.#handle = handle;
    this.#kind = kind;
  }

  /** Calls the engine, unless it has ended. */
  call<T>(method: (handle: H) => Promise<T>): Promise<T> {
    return crossing(async () => {
      if (this.#handle === undefined) throw new InvalidInputError(`the ${this.#kind.name} has ended; begin a new one`);
      return method(this.#handle);
    });
  }

  /** Ends and destroys the handle, which garbage collection would do late or never. Ending it twice is not an error. */
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

/** Opens a handle, runs the body, and ends the handle. The signal ends it at once as a failure, even while the body runs. */
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
    // Awaited, so that the caller sees the error after the rollback. A handle that has already ended is not a second error.
    await open.end('badly').catch(() => undefined);
    throw error;
  }
  await open.end('well');
  return result;
}

/** Settles like `promise`, or rejects with the abort reason if that comes first; a value after the abort goes to `late`. */
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
    // A rejection after an abort is ignored: `reject` has no effect then.
    promise.then(
      (value) => settled(() => (aborted ? late(value) : resolve(value))),
      (error) => settled(() => reject(error as Error)),
    );
  });
}

/** The abort reason; the `AbortSignal` of some JavaScript engines has none. */
function reason(signal: AbortSignal): Error {
  const given: unknown = signal.reason;
  return given === undefined ? Object.assign(new Error('aborted'), { name: 'AbortError' }) : (given as Error);
}
