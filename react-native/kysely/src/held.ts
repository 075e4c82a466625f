/** A call with a body, such as `client.transaction`, that is held open and ended from outside. */

/** An open body. */
export interface Held<T> {
  /** What the body received. */
  readonly value: T;
  /** Ends the body successfully; throws the error of the call. */
  readonly keep: () => Promise<void>;
  /** Ends the body with an error, so that the call undoes its writes. Undoing what has already ended is not an error. */
  readonly undo: () => Promise<void>;
}

/** Begins a call and resolves when its body runs; throws the error of a call that never runs it. */
export function hold<T>(call: (body: (value: T) => Promise<void>) => Promise<void>): Promise<Held<T>> {
  return new Promise((opened, failed) => {
    const ended = call(
      (value) =>
        new Promise<void>((end, fail) => {
          const keep = (): Promise<void> => {
            end();
            return ended;
          };
          const undo = (): Promise<void> => {
            fail(new Error('rolled back'));
            return ended.catch(() => undefined);
          };
          opened({ value, keep, undo });
        }),
    );
    ended.catch(failed);
  });
}
