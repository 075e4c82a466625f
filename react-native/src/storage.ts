/**
 * `client.storage`: the database file. Its checkpoint, reset, import from the Synchro SDK and diagnosis, with their types.
 *
 * None needs a network. What a reset means is in `docs/identity.md`.
 */
import { ffi } from './border';
import type { Engine } from './engine';
import { InvalidInputError } from './errors';
import { type PendingMutation, raiseMutation } from './mutations';
import type { DecodeOptions } from './row-buffer';
import type { IntegerMode } from './value';

/** The database file; from {@link RejoinClient.storage}. */
export class StorageHandle {
  readonly #engine: Engine;

  /** @internal */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Moves the write-ahead log into the file, for instance before copying it. If a reader or writer blocks it, `busy` is true. */
  async checkpoint(mode: CheckpointMode): Promise<{ busy: boolean; pages: number; moved: number }> {
    const { busy, pages, moved } = await this.#engine.call((inner) => inner.checkpoint(CHECKPOINT[mode]));
    return { busy, pages: Number(pages), moved: Number(moved) };
  }

  /**
   * Resets the file: `keep` selects what is kept. The tables are always kept, and watches on them continue.
   *
   * Unsent mutations are user data, so they are discarded only by id: unless the queue is kept, `giveUp` lists every mutation of
   * `queue.all()`, parked ones too. The reset is one transaction. If syncing is on, the next sync uses the token that the provider returns
   * then: switch the provider to the next user first.
   *
   * @throws UnsentError if an unsent mutation is not listed; InvalidInputError if one is listed and the queue is kept.
   */
  async reset(keep: Keep, giveUp: readonly string[] = [], { integers = this.#engine.integers }: DecodeOptions = {}): Promise<ResetReport> {
    return raiseReset(await this.#engine.call((inner) => inner.reset(lowerKeep(keep), [...giveUp])), integers);
  }

  /**
   * Empties the file for the next user of the device: {@link reset} that keeps the local-only tables.
   *
   * @param discarding the ids of all mutations of `queue.all()`, parked ones too.
   * @throws UnsentError if an unsent mutation is not listed.
   */
  async clearForNextUser(discarding: readonly string[] = [], options?: DecodeOptions): Promise<ResetReport> {
    return this.reset('local', discarding, options);
  }

  /**
   * Imports an app's Synchro database: its unsent edits enter the queue, and its rows are visible until the first sync replaces them.
   *
   * The old file is copied and not changed; it must not be open during the call. The import is one transaction. A repeated call imports
   * only what is new. Works offline with a bundled schema.
   *
   * @throws InvalidInputError if the file is not a Synchro database, or if the schema is not available yet; StorageError if the file is
   * damaged or cannot be copied. Nothing was imported then.
   */
  async importSynchro(path: string): Promise<SynchroImport> {
    return raiseImport(await this.#engine.call((inner) => inner.importSynchro(path)));
  }

  /** A JSON report for a bug report, without row data and credentials. */
  async diagnose(): Promise<unknown> {
    return JSON.parse(await this.#engine.call((inner) => inner.diagnose())) as unknown;
  }
}

/** SQLite's checkpoint modes; each does what the previous one does, and more. */
export type CheckpointMode = 'passive' | 'full' | 'restart' | 'truncate';

/**
 * What a reset keeps in the file:
 *
 * - `'pending'`: everything except the server's rows, which the next sync fetches again as the first one did.
 * - `'local'`: local-only tables. Rows, queue, history, device id and user are deleted, so that another user can use the file.
 * - `'nothing'`: only the schema; all tables are empty.
 */
export type Keep = 'pending' | 'local' | 'nothing';

/** What a reset deleted. */
export interface ResetReport {
  /** The discarded mutations, pending or parked, with every value that they wrote. */
  readonly givenUp: readonly PendingMutation[];
  /** Deleted rows of synced tables, as the app saw them. */
  readonly rows: number;
  /** Deleted rows of local-only tables. */
  readonly localRows: number;
}

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
  /** Why it was not imported. */
  readonly reason: string;
}

const CHECKPOINT: Record<CheckpointMode, ffi.CheckpointMode> = {
  passive: ffi.CheckpointMode.Passive,
  full: ffi.CheckpointMode.Full,
  restart: ffi.CheckpointMode.Restart,
  truncate: ffi.CheckpointMode.Truncate,
};

const KEEP: Record<Keep, ffi.Keep> = {
  pending: ffi.Keep.Pending,
  local: ffi.Keep.Local,
  nothing: ffi.Keep.Nothing,
};

function lowerKeep(keep: Keep): ffi.Keep {
  const lowered = KEEP[keep];
  if (lowered === undefined) throw new InvalidInputError(`a reset keeps 'pending', 'local' or 'nothing', not ${String(keep)}`);
  return lowered;
}

function raiseReset({ givenUp, rows, localRows }: ffi.ResetReport, integers: IntegerMode): ResetReport {
  return { givenUp: givenUp.map((one) => raiseMutation(one, integers)), rows: Number(rows), localRows: Number(localRows) };
}

function raiseImport({ tables, leftOut, takenBefore, awaiting }: ffi.SynchroImport): SynchroImport {
  return { tables, leftOut: leftOut.map(raiseLeftOut), takenBefore, awaiting };
}

function raiseLeftOut({ table, recordId, unsent, reason }: ffi.LeftOut): LeftOut {
  return recordId === undefined ? { table, unsent, reason } : { table, recordId, unsent, reason };
}
