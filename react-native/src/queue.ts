/**
 * What waits for the server, what became of it, and what commits touched.
 *
 * Promise: the words are the engine's; nothing here decides anything.
 * Border: times are milliseconds since 1970; ids are texts.
 */
import { ffi, raise } from './border';
import type { IntegerMode, SqlValue } from './value';

/** Where a mutation stands: waiting, sent, sent without an answer, or set aside with a reason. */
export type MutationState = 'pending' | 'sent' | 'uncertain' | 'parked';

/** Why a mutation was set aside: it is neither sent nor lost until the app decides. */
export type ParkReason = 'rejected' | 'conflicted' | 'refused' | 'unreplayable' | 'depends' | 'remainder' | 'server-fault';

/** One column of a pending row. */
export interface PendingColumn {
  readonly name: string;
  /** The value before the write. */
  readonly oldValue: SqlValue;
  /** The value written. */
  readonly newValue: SqlValue;
}

/** One row that a mutation writes. */
export interface PendingRow {
  readonly table: string;
  readonly key: SqlValue;
  readonly operation: 'insert' | 'update' | 'delete';
  readonly columns: readonly PendingColumn[];
}

/** A transaction of the app that the server has not accepted. */
export interface PendingMutation {
  /** Its place in the queue: a greater one was written later. */
  readonly seq: number;
  /** What `verdict` and the decisions (`retry`, `edit`, `discard`, `undo`) take. */
  readonly id: string;
  readonly state: MutationState;
  /** Why it is parked. */
  readonly reason?: ParkReason;
  /** The server's or the engine's words for that. */
  readonly detail?: string;
  /** The mutation because of which it is parked. */
  readonly becauseOf?: string;
  /** While it waits: the earlier mutation that must be accepted before it and that the server fails on at present. */
  readonly blockedBy?: string;
  /** The name of the action that wrote it. */
  readonly action?: string;
  /** When it was written. */
  readonly writtenMs: number;
  /** How often its content was offered anew after a verdict, from 1. */
  readonly attempt: number;
  readonly rows: readonly PendingRow[];
}

/** How many mutations stand where. */
export interface PendingCounts {
  readonly pending: number;
  readonly sent: number;
  readonly uncertain: number;
  readonly parked: number;
}

/** What a row waits for; `'synced'` if for nothing. */
export type RowSyncState = 'synced' | MutationState;

/** What became of a mutation: the server has it and the rows show it; it was set aside; or it was not one of ours. */
export type Verdict =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'parked'; readonly reason?: ParkReason; readonly detail?: string }
  | { readonly kind: 'unknown' };

/** What a sync did. */
export interface SyncReport {
  /** Mutations that the server accepted. */
  readonly accepted: number;
  /** Mutations that were set aside. */
  readonly parked: number;
  /** Rows that came. */
  readonly pulled: number;
  /** Mutations that still wait. */
  readonly stillPending: number;
}

/** What one commit touched, or several that came while the observer ran. */
export interface Change {
  /** Who wrote: the app on this device, or the server. */
  readonly origin: 'local' | 'remote';
  /** The tables, with the keys of the rows where they are known, as for synced tables. */
  readonly tables: readonly { readonly name: string; readonly keys?: readonly SqlValue[] }[];
  /** Whether the queue, or the sync state of any row, changed. */
  readonly queue: boolean;
}

const STATE: Record<ffi.MutationState, MutationState> = {
  [ffi.MutationState.Pending]: 'pending',
  [ffi.MutationState.Sent]: 'sent',
  [ffi.MutationState.Uncertain]: 'uncertain',
  [ffi.MutationState.Parked]: 'parked',
};

const REASON: Record<ffi.ParkReason, ParkReason> = {
  [ffi.ParkReason.Rejected]: 'rejected',
  [ffi.ParkReason.Conflicted]: 'conflicted',
  [ffi.ParkReason.Refused]: 'refused',
  [ffi.ParkReason.Unreplayable]: 'unreplayable',
  [ffi.ParkReason.Depends]: 'depends',
  [ffi.ParkReason.Remainder]: 'remainder',
  [ffi.ParkReason.ServerFault]: 'server-fault',
};

const OPERATION: Record<ffi.PatchKind, PendingRow['operation']> = {
  [ffi.PatchKind.Insert]: 'insert',
  [ffi.PatchKind.Update]: 'update',
  [ffi.PatchKind.Delete]: 'delete',
};

const ROW_STATE: Record<ffi.RowSyncState, RowSyncState> = {
  [ffi.RowSyncState.Synced]: 'synced',
  [ffi.RowSyncState.Pending]: 'pending',
  [ffi.RowSyncState.Sent]: 'sent',
  [ffi.RowSyncState.Uncertain]: 'uncertain',
  [ffi.RowSyncState.Parked]: 'parked',
};

/** @internal */
export function raiseRowState(state: ffi.RowSyncState): RowSyncState {
  return ROW_STATE[state];
}

/** @internal */
export function raiseMutation(mutation: ffi.PendingMutation, integers: IntegerMode): PendingMutation {
  const { id, reason, detail, becauseOf, blockedBy, action } = mutation;
  return {
    seq: Number(mutation.seq),
    id,
    state: STATE[mutation.state],
    ...(reason === undefined ? {} : { reason: REASON[reason] }),
    ...(detail === undefined ? {} : { detail }),
    ...(becauseOf === undefined ? {} : { becauseOf }),
    ...(blockedBy === undefined ? {} : { blockedBy }),
    ...(action === undefined ? {} : { action }),
    writtenMs: Number(mutation.writtenMs),
    attempt: Number(mutation.attempt),
    rows: mutation.rows.map((row) => raiseRow(row, integers)),
  };
}

/** @internal */
export function raiseRow({ table, key, operation, columns }: ffi.PendingRow, integers: IntegerMode): PendingRow {
  return {
    table,
    key: raise(key, integers),
    operation: OPERATION[operation],
    columns: columns.map(({ name, oldValue, newValue }) => ({
      name,
      oldValue: raise(oldValue, integers),
      newValue: raise(newValue, integers),
    })),
  };
}

/** @internal */
export function raiseReason(reason: ffi.ParkReason): ParkReason {
  return REASON[reason];
}

/** @internal */
export function raiseVerdict(verdict: ffi.Verdict): Verdict {
  switch (verdict.tag) {
    case ffi.Verdict_Tags.Accepted:
      return { kind: 'accepted' };
    case ffi.Verdict_Tags.Unknown:
      return { kind: 'unknown' };
    case ffi.Verdict_Tags.Parked: {
      const { reason, detail } = verdict.inner;
      return {
        kind: 'parked',
        ...(reason === undefined ? {} : { reason: REASON[reason] }),
        ...(detail === undefined ? {} : { detail }),
      };
    }
  }
}

/** @internal */
export function raiseChange(change: ffi.Change, integers: IntegerMode): Change {
  return {
    origin: change.origin === ffi.ChangeOrigin.Local ? 'local' : 'remote',
    tables: change.tables.map(({ name, keys }) => ({
      name,
      ...(keys === undefined ? {} : { keys: keys.map((key) => raise(key, integers)) }),
    })),
    queue: change.queue,
  };
}
