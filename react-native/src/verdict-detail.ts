/** Why a mutation was not accepted, with both versions of each row in conflict. */
import { ffi } from './border';
import { raise } from './statement';
import type { IntegerMode, SqlValue } from './value';

/** Values by column, as in a pending column. */
export type ColumnValues = Readonly<Record<string, SqlValue>>;

/** What the server, or this device, reports on a mutation that was parked or corrected. */
export interface VerdictDetail {
  /** The reason's code, for example `constraint.check`. */
  readonly code?: string;
  /** The reason as text; one line for each rejection of a partly accepted mutation. */
  readonly message?: string;
  /** The table that the reason names. */
  readonly table?: string;
  /** The key of the row that the reason names. */
  readonly key?: SqlValue;
  /** The column that the reason names. */
  readonly column?: string;
  /** The rows in conflict. */
  readonly rows: readonly ConflictedRow[];
  /** For an action of the log whose effect has changed: both effects, if they fit into 64 KiB. */
  readonly correction?: Correction;
}

/** A row in which a mutation conflicts, as both sides had it at the verdict. */
export interface ConflictedRow {
  readonly table: string;
  readonly key: SqlValue;
  /** The columns in conflict; empty if the row was deleted or created. */
  readonly columns: readonly string[];
  /** The row as this device showed it after the mutation; null if the mutation deletes it. */
  readonly mine: ColumnValues | null;
  /** The server's row; null if it has none. */
  readonly theirs: ColumnValues | null;
  /** In a table with the policy `manual`: the previous values of the changed columns; null for a create. */
  readonly before: ColumnValues | null;
}

/** The two effects of an action of the log that was run again. */
export interface Correction {
  /** What it did before. */
  readonly before: readonly EffectRow[];
  /** What it does now; empty if it is now rejected. */
  readonly after: readonly EffectRow[];
}

/** What an action does to a row. */
export interface EffectRow {
  readonly table: string;
  readonly key: SqlValue;
  readonly operation: 'insert' | 'update' | 'delete';
  /** All columns for an insert, the changed ones for an update, none for a delete. */
  readonly columns: ColumnValues;
}

/** The operations of the engine. @internal */
export const OPERATION: Record<ffi.PatchKind, EffectRow['operation']> = {
  [ffi.PatchKind.Insert]: 'insert',
  [ffi.PatchKind.Update]: 'update',
  [ffi.PatchKind.Delete]: 'delete',
};

/** @internal */
export function raiseDetail(detail: ffi.VerdictDetail, integers: IntegerMode): VerdictDetail {
  const { code, message, table, key, column, correction } = detail;
  return {
    ...(code === undefined ? {} : { code }),
    ...(message === undefined ? {} : { message }),
    ...(table === undefined ? {} : { table }),
    ...(key === undefined ? {} : { key: raise(key, integers) }),
    ...(column === undefined ? {} : { column }),
    rows: detail.rows.map((row) => ({
      table: row.table,
      key: raise(row.key, integers),
      columns: row.columns,
      mine: raiseValues(row.mine, integers),
      theirs: raiseValues(row.theirs, integers),
      before: raiseValues(row.before, integers),
    })),
    ...(correction === undefined ? {} : { correction: raiseCorrection(correction, integers) }),
  };
}

function raiseCorrection({ before, after }: ffi.Correction, integers: IntegerMode): Correction {
  const effect = ({ table, key, operation, columns }: ffi.EffectRow): EffectRow => ({
    table,
    key: raise(key, integers),
    operation: OPERATION[operation],
    columns: raiseValues(columns, integers) ?? {},
  });
  return { before: before.map(effect), after: after.map(effect) };
}

function raiseValues(values: ReadonlyMap<string, ffi.SqlValue> | undefined, integers: IntegerMode): ColumnValues | null {
  if (values === undefined) return null;
  return Object.fromEntries([...values].map(([column, value]) => [column, raise(value, integers)]));
}
