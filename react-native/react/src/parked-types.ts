/** A parked mutation as a screen shows it: both values of each column, and the mutations that share its decision. */
import type { PendingMutation, PendingRow, SqlParam, SqlValue, Statement } from '@rejoin/react-native';

/** A parked mutation, with the mutations that were parked because of it. */
export interface ParkedWrite {
  /** The mutation's id, for the decisions. */
  readonly id: string;
  readonly mutation: PendingMutation;
  /** The server's message. */
  readonly message: string | undefined;
  /** Whether two versions compete; otherwise the mutation itself was not accepted. */
  readonly isConflict: boolean;
  /** Its rows, at most 20, in the order of first change. */
  readonly rows: readonly ParkedRow[];
  /** The number of its rows that are not in `rows`. */
  readonly moreRows: number;
  /** The mutations that were parked because of this one; they are decided with it. */
  readonly dependents: readonly PendingMutation[];
}

/** A row of a parked mutation. */
export interface ParkedRow {
  readonly table: string;
  readonly key: SqlValue;
  /** The name of the key column; undefined if the table is gone. */
  readonly keyColumn: string | undefined;
  readonly operation: PendingRow['operation'];
  /** Whether the row exists without the mutation. */
  readonly exists: boolean;
  /**
   * The columns that the mutation writes, without the key and without those that are NULL on both sides. For a delete: the columns that have
   * changed since.
   */
  readonly columns: readonly ParkedColumn[];
}

/** A column of a parked mutation, with both values. */
export interface ParkedColumn {
  readonly name: string;
  /** The value that the mutation writes; undefined if it deletes the row. */
  readonly mine: SqlValue | undefined;
  /** The value of the row without the mutation; undefined if there is no such row. */
  readonly theirs: SqlValue | undefined;
  /** Whether the two values differ. */
  readonly differs: boolean;
  /** Whether the server reported a conflict in this column. */
  readonly isConflict: boolean;
}

/**
 * The statement that writes values into a row of a parked mutation, for `edit`.
 *
 * ```ts
 * await edit(write.id, [updateRow(write.rows[0], { title: 'both words' })]);
 * ```
 *
 * @throws Error if there is no value, or the row's table is gone.
 */
export function updateRow({ table, key, keyColumn }: ParkedRow, values: Readonly<Record<string, SqlParam>>): Statement {
  const names = Object.keys(values);
  if (keyColumn === undefined) throw new Error(`there is no table ${table}`);
  if (names.length === 0) throw new Error(`no value is given for the row of ${table}`);
  const sets = names.map((name) => `${quoted(name)} = ?`).join(', ');
  return { sql: `UPDATE ${quoted(table)} SET ${sets} WHERE ${quoted(keyColumn)} = ?`, params: [...Object.values(values), key] };
}

/** A name as an SQL identifier. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
