/**
 * What the server has accepted, what taking it back came to, and what a reset took away.
 *
 * Promise: the words are the engine's; nothing here decides anything.
 * Border: times are milliseconds since 1970; ids are texts.
 */
import { ffi } from './border';
import { InvalidInputError } from './errors';
import { type PendingMutation, type PendingRow, raiseMutation, raiseRow } from './queue';
import type { IntegerMode } from './value';

/** A mutation that the server has accepted. */
export interface AcceptedMutation {
  /** Its place in the queue, when it was there. */
  readonly seq: number;
  /** What `undo` and `redo` take. */
  readonly id: string;
  /** The action's name; undefined for plain SQL. */
  readonly action?: string;
  /** When it was written. */
  readonly writtenMs: number;
  /** When its verdict came. */
  readonly acceptedMs: number;
  /** The number of the attempt that was accepted, from 1. */
  readonly attempt: number;
  /** The mutation that it takes back, by undo or redo. */
  readonly undoes?: string;
  /** What it did, a row each; the old values are those that it displaced on the server. */
  readonly rows: readonly PendingRow[];
}

/**
 * What became of an undo or a redo: the mutation had no verdict yet and was given up, as by `discard`; a mutation, which waits like any
 * other, takes it back; or there was nothing to take back, because the server's rows were so already before it.
 */
export type Undone = { readonly kind: 'given-up' } | { readonly kind: 'by'; readonly id: string } | { readonly kind: 'nothing' };

/** How much of what was accepted is kept. What is left out is as by default. */
export interface HistoryBounds {
  /** Most mutations. Default 1,000. */
  readonly count?: number | undefined;
  /** Most bytes of what they wrote. Default 16 MiB. */
  readonly bytes?: number | undefined;
  /** How long, in seconds from the verdict on. Default thirty days. */
  readonly ageSeconds?: number | undefined;
}

/**
 * What stays in the file when it begins anew:
 *
 * - `'pending'`: everything that is not the server's. The rows of the server go, and the next sync fetches them as the first one did.
 * - `'local'`: local-only tables. Rows, queue, history, the device's id and its user go: the file is the next user's to take.
 * - `'nothing'`: the tables, all of them empty, and their schema.
 */
export type Keep = 'pending' | 'local' | 'nothing';

/** What a reset took away. */
export interface ResetReport {
  /** What waited for the server or was parked, and went: all that the app had named, with every value that was written. */
  readonly givenUp: readonly PendingMutation[];
  /** Rows of synced tables that went, with what waited on them. */
  readonly rows: number;
  /** Rows of local-only tables that went. */
  readonly localRows: number;
}

const KEEP: Record<Keep, ffi.Keep> = {
  pending: ffi.Keep.Pending,
  local: ffi.Keep.Local,
  nothing: ffi.Keep.Nothing,
};

/** @internal */
export function lowerKeep(keep: Keep): ffi.Keep {
  const lowered = KEEP[keep];
  if (lowered === undefined) throw new InvalidInputError(`a reset keeps 'pending', 'local' or 'nothing', not ${String(keep)}`);
  return lowered;
}

/** A whole number of 32 bits on its way in. @internal */
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
    case ffi.Undone_Tags.By:
      return { kind: 'by', id: undone.inner.id };
    case ffi.Undone_Tags.Nothing:
      return { kind: 'nothing' };
  }
}

/** @internal */
export function raiseReset({ givenUp, rows, localRows }: ffi.ResetReport, integers: IntegerMode): ResetReport {
  return { givenUp: givenUp.map((one) => raiseMutation(one, integers)), rows: Number(rows), localRows: Number(localRows) };
}
