/**
 * The report of an import from the Synchro SDK, and its conversion from the engine's type.
 */
import type { ffi } from './border';

/** The report of `importSynchro`. */
export interface SynchroImport {
  /** The tables that exist in both files, by name. */
  readonly tables: readonly ImportedTable[];
  /** What was not imported and stays in the old file, with the reason. */
  readonly leftOut: readonly LeftOut[];
  /** Unsent edits that an earlier call has already imported. */
  readonly takenBefore: number;
  /** Mutations that can be sent only after the first sync; zero if it is complete. */
  readonly awaiting: number;
}

/** What was imported of a table. */
export interface ImportedTable {
  readonly name: string;
  /** Rows of the old file, visible until the first sync replaces them. */
  readonly rows: number;
  /** Unsent inserts. */
  readonly creates: number;
  /** Unsent edits, one per row. */
  readonly updates: number;
  /** Unsent deletes. */
  readonly deletes: number;
  /** Columns of the old table that are not in the schema; their values were not imported. */
  readonly columnsLeftOut: readonly string[];
}

/** What was not imported of an old file. */
export interface LeftOut {
  /** The table's old name. */
  readonly table: string;
  /** The row; `undefined` if the whole table was left out. */
  readonly recordId?: string;
  /** Number of unsent edits concerned. */
  readonly unsent: number;
  /** The reason. */
  readonly why: string;
}

/** Converts the engine's report. */
export function raiseImport({ tables, leftOut, takenBefore, awaiting }: ffi.SynchroImport): SynchroImport {
  return { tables, leftOut: leftOut.map(raiseLeftOut), takenBefore, awaiting };
}

function raiseLeftOut({ table, recordId, unsent, why }: ffi.LeftOut): LeftOut {
  return recordId === undefined ? { table, unsent, why } : { table, recordId, unsent, why };
}
