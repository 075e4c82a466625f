/**
 * The history of accepted mutations and the results of undo: types and their conversion from the engine's types. The calls are in
 * `queue.ts`.
 *
 * Times are milliseconds since 1970; ids are strings.
 */
import { ffi } from './border';
import { InvalidInputError } from './errors';
import { type PendingRow, raiseRow } from './mutations';
import type { IntegerMode } from './value';

/** A mutation that the server has accepted. */
export interface AcceptedMutation {
  /** Its position in the queue before it was accepted; 0 for an entry of the log. */
  readonly seq: number;
  /** What `undo` and `redo` take. */
  readonly id: string;
  /** The action's name; undefined for plain SQL. */
  readonly action?: string;
  /** When it was written. */
  readonly writtenMs: number;
  /**
   * When its verdict arrived. For an entry of the log whose verdict the app has acknowledged: when it
   * was written.
   */
  readonly acceptedMs: number;
  /** The number of the attempt that was accepted, from 1. */
  readonly attempt: number;
  /** The mutation that it undoes, by undo or redo. */
  readonly undoes?: string;
  /** The rows that it wrote; the old values are those that it replaced on the server. */
  readonly rows: readonly PendingRow[];
}

/**
 * The result of an undo or a redo: the mutation had no verdict and was discarded, as by `discard`; a new pending mutation undoes it; or
 * there is nothing to undo, because it did not change the server's rows.
 */
export type Undone = { readonly kind: 'given-up' } | { readonly kind: 'new-mutation'; readonly id: string } | { readonly kind: 'nothing' };

/** Limits of the history. Omitted members have their defaults. */
export interface HistoryBounds {
  /** Maximum number of mutations. Default 1,000. */
  readonly count?: number | undefined;
  /** Maximum number of bytes of their writes. Default 16 MiB. */
  readonly bytes?: number | undefined;
  /** Maximum age since the verdict, in seconds. Default thirty days. */
  readonly ageSeconds?: number | undefined;
}

/** Checks a 32-bit whole number. @internal */
export function lowerCount(count: number, what: string): number {
  if (Number.isInteger(count) && count >= 0 && count < 2 ** 32) return count;
  throw new InvalidInputError(`${what} is ${String(count)}, not a whole number of 32 bits`);
}

/** @internal */
export function lowerBounds(bounds: HistoryBounds): ffi.HistoryBounds {
  const lowered = (name: keyof HistoryBounds): number | undefined => {
    const value = bounds[name];
    return value === undefined ? undefined : lowerCount(value, name);
  };
  const [count, bytes, ageSeconds] = [lowered('count'), lowered('bytes'), lowered('ageSeconds')];
  return ffi.HistoryBounds.create({ count, bytes, ageSeconds } as ffi.HistoryBounds);
}

/** @internal */
export function raiseAccepted(accepted: ffi.AcceptedMutation, integers: IntegerMode): AcceptedMutation {
  const { id, action, undoes } = accepted;
  return {
    seq: Number(accepted.seq),
    id,
    ...(action === undefined ? {} : { action }),
    writtenMs: Number(accepted.writtenMs),
    acceptedMs: Number(accepted.acceptedMs),
    attempt: Number(accepted.attempt),
    ...(undoes === undefined ? {} : { undoes }),
    rows: accepted.rows.map((row) => raiseRow(row, integers)),
  };
}

/** @internal */
export function raiseUndone(undone: ffi.Undone): Undone {
  switch (undone.tag) {
    case ffi.Undone_Tags.GivenUp:
      return { kind: 'given-up' };
    case ffi.Undone_Tags.NewMutation:
      return { kind: 'new-mutation', id: undone.inner.id };
    case ffi.Undone_Tags.Nothing:
      return { kind: 'nothing' };
  }
}
