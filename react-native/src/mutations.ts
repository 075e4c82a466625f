/**
 * Mutations in the queue: their types and the conversion from the engine's types. The calls are in `queue.ts`.
 *
 * Times are milliseconds since 1970; ids are strings.
 */
import { ffi } from './border';
import { raise } from './statement';
import type { IntegerMode, SqlValue } from './value';
import { OPERATION, raiseDetail, type VerdictDetail } from './verdict-detail';

/** The state of a mutation: not sent, sent, sent without a response, or set aside with a reason. */
export type MutationState = 'pending' | 'sent' | 'uncertain' | 'parked';

/** Why a mutation is parked: it is kept and not sent until the app decides. */
export type ParkReason = 'rejected' | 'conflicted' | 'refused' | 'unreplayable' | 'depends' | 'partly-accepted' | 'server-fault';

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
  /** Its position in the queue; later mutations have greater ones. 0 for an entry of the log. */
  readonly seq: number;
  /** The id for `verdict`, `retry`, `edit`, `discard` and `undo`. */
  readonly id: string;
  readonly state: MutationState;
  /** Why it is parked. */
  readonly reason?: ParkReason;
  /** The server's message and, for a conflict, both versions of each row. */
  readonly detail?: VerdictDetail;
  /** The mutation because of which it is parked. */
  readonly becauseOf?: string;
  /** While it is pending: the earlier mutation that must be accepted first and on which the server currently fails. */
  readonly blockedBy?: string;
  /** The name of the action that wrote it. */
  readonly action?: string;
  /** When it was written. */
  readonly writtenMs: number;
  /** The number of the attempt, from 1; increases when its content is queued again after a verdict. */
  readonly attempt: number;
  readonly rows: readonly PendingRow[];
}

/** The number of mutations in each state. */
export interface PendingCounts {
  readonly pending: number;
  readonly sent: number;
  readonly uncertain: number;
  readonly parked: number;
}

/** The sync state of a row: `'synced'`, or the state of its mutation. */
export type RowSyncState = 'synced' | MutationState;

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
  [ffi.ParkReason.PartlyAccepted]: 'partly-accepted',
  [ffi.ParkReason.ServerFault]: 'server-fault',
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
    ...(detail === undefined ? {} : { detail: raiseDetail(detail, integers) }),
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
