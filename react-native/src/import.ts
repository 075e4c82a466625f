/**
 * Moving over from the Synchro SDK: what a device has not sent comes along.
 *
 * Promise: the report is the engine's; nothing here decides anything.
 * Border: counts are numbers; what is not there is `undefined`.
 */
import type { ffi } from './border';

/** What became of a Synchro database that was taken over. */
export interface SynchroImport {
  /** The tables that both sides know, by name. */
  readonly tables: readonly ImportedTable[];
  /** What was not taken and stays in the old file, with the reason. */
  readonly leftOut: readonly LeftOut[];
  /** Unsent edits that an earlier call had taken already. */
  readonly takenBefore: number;
  /** Mutations that wait for the first sync before they can be sent; zero if everything has been here. */
  readonly awaiting: number;
}

/** What was taken of a table. */
export interface ImportedTable {
  readonly name: string;
  /** Rows that are seen as the old file had them, until the first sync brings the server's. */
  readonly rows: number;
  /** Rows that the server had not been told of. */
  readonly creates: number;
  /** Edits that the server had not been told of, one per row. */
  readonly updates: number;
  /** Deletes that the server had not been told of. */
  readonly deletes: number;
  /** Columns of the old table that the schema lacks; their values were not taken. */
  readonly columnsLeftOut: readonly string[];
}

/** What was not taken of an old file. */
export interface LeftOut {
  /** The table, by its old name. */
  readonly table: string;
  /** The row; `undefined` where the whole table was left out. */
  readonly recordId?: string;
  /** How many unsent edits this is about. */
  readonly unsent: number;
  /** Why. */
  readonly why: string;
}

/** The report as the app gets it. */
export function raiseImport({ tables, leftOut, takenBefore, awaiting }: ffi.SynchroImport): SynchroImport {
  return { tables, leftOut: leftOut.map(raiseLeftOut), takenBefore, awaiting };
}

function raiseLeftOut({ table, recordId, unsent, why }: ffi.LeftOut): LeftOut {
  return recordId === undefined ? { table, unsent, why } : { table, recordId, unsent, why };
}
