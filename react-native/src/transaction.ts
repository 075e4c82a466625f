/**
 * Interactive transactions and snapshots with asynchronous bodies.
 *
 * A transaction is all or nothing, whether its body throws, hangs, leaves a call un-awaited or is aborted. The engine rolls back a
 * transaction that is idle for too long.
 */
import type { ffi } from './border';
import type { DatabaseReader, DatabaseTransaction } from './database';
import { hold, type Kind, type Open } from './held';
import { Reader } from './reader';
import type { DecodeOptions, Row } from './row-buffer';
import { execute, lowerAll, lowerStatements, statementText, type Statement } from './statement';
import type { IntegerMode, SqlParam } from './value';

/** How a transaction or a snapshot can be ended from outside. */
export interface AbortOptions {
  /**
   * Aborting the signal ends it at once: its writes are rolled back, and the promise is rejected with the signal's reason. JavaScript
   * cannot stop the body; its next statement fails. A commit that has begun is not cancelled.
   */
  readonly signal?: AbortSignal | undefined;
}

/**
 * An open transaction, valid while the body of {@link RejoinClient.transaction} runs.
 *
 * Its writes are visible only to itself until the commit. Inside the body use it, not the client. A write through the client waits for
 * this transaction, a deadlock until the engine rolls it back (`TransactionTimeoutError`, after 5 s without a statement); then the write
 * runs outside of any transaction. The same holds for every other call that needs the writer; `suspend` and `shutdown` end the
 * transaction. Other languages reject such calls at once, but JavaScript cannot detect that a call comes from the body.
 */
export class Transaction extends Reader implements DatabaseTransaction {
  readonly #open: Open<ffi.HeldTransactionLike>;

  /** @internal */
  constructor(open: Open<ffi.HeldTransactionLike>, integers: IntegerMode) {
    super(integers);
    this.#open = open;
  }

  /**
   * Runs one statement and returns the number of rows that it changed.
   *
   * @throws InvalidInputError, ConstraintError: the statement is undone, and the transaction can continue.
   */
  execute(sql: string, params?: readonly SqlParam[]): Promise<number>;
  /** Runs a {@link Statement}, such as one that generated code returns, as `execute(sql, params)` does. */
  execute(statement: Statement): Promise<number>;
  async execute(statement: string | Statement, params?: readonly SqlParam[]): Promise<number> {
    return this.#open.call((held) => execute(held, statement, params));
  }

  /** Runs one statement that writes and returns rows (`INSERT ... RETURNING`). Throws as {@link execute} does. */
  async executeReturning<T = Row>(
    sql: string,
    params: readonly SqlParam[] = [],
    options: DecodeOptions = {},
  ): Promise<T[]> {
    // In a transaction, `query` also accepts statements that write.
    return this.decoded<T>(await this.fetch(sql, params), options).toArray();
  }

  /**
   * Runs several statements in one call and returns the number of rows that each changed. If one fails, the whole batch is undone and its
   * error is thrown; the transaction can continue.
   */
  async batch(statements: readonly Statement[]): Promise<number[]> {
    return (await this.#open.call((held) => held.batch(lowerStatements(statements)))).map(Number);
  }

  /**
   * Runs `body` in a savepoint: if it throws, its writes are undone, the error is rethrown, and the transaction can continue.
   *
   * ```ts
   * await client.transaction(async (tx) => {
   *   await tx.execute('INSERT INTO task (id, title) VALUES (?, ?)', ['1', 'kept']);
   *   await tx.savepoint(() => tx.execute('INSERT INTO task (id) VALUES (?)', ['1'])).catch(() => 'taken already');
   * });
   * ```
   *
   * Savepoints nest and must end in reverse order: await each before starting the next on the same level, and before the transaction's
   * body ends. A savepoint that ends while an inner one is open throws an `InvalidInputError` and stays open. If one is open at the end of
   * the body, the transaction is rolled back with an `InvalidInputError`.
   */
  async savepoint<T>(body: () => Promise<T> | T): Promise<T> {
    const part = await this.#open.call((held) => held.savepoint());
    let result: T;
    try {
      result = await body();
    } catch (error) {
      // Ignores a failure: if the transaction has ended, there is nothing to undo, and `error` is the cause. A savepoint that cannot be
      // rolled back stays open, so the transaction is never committed.
      await this.#open.call((held) => held.rollbackTo(part)).catch(() => undefined);
      throw error;
    }
    await this.#open.call((held) => held.release(part));
    return result;
  }

  protected override async fetch(sql: string, params: readonly SqlParam[]): Promise<ArrayBuffer> {
    return this.#open.call((held) => held.query(statementText(sql), lowerAll(params)));
  }
}

/**
 * A snapshot of the database, valid while the body of {@link RejoinClient.read} runs.
 *
 * All its queries see the same state, unaffected by concurrent writes. It does not block writers.
 */
export class Snapshot extends Reader implements DatabaseReader {
  readonly #open: Open<ffi.HeldSnapshotLike>;

  /** @internal */
  constructor(open: Open<ffi.HeldSnapshotLike>, integers: IntegerMode) {
    super(integers);
    this.#open = open;
  }

  protected override async fetch(sql: string, params: readonly SqlParam[]): Promise<ArrayBuffer> {
    return this.#open.call((held) => held.query(statementText(sql), lowerAll(params)));
  }
}

const TRANSACTION: Kind<ffi.HeldTransactionLike> = {
  name: 'transaction',
  well: (held) => held.commit(),
  badly: (held) => held.rollback(),
};

const SNAPSHOT: Kind<ffi.HeldSnapshotLike> = {
  name: 'snapshot',
  well: (held) => held.finish(),
  badly: (held) => held.finish(),
};

/** Begins a transaction, runs its body, and ends it. @internal */
export function inTransaction<T>(
  client: ffi.RejoinClientLike,
  integers: IntegerMode,
  body: (tx: Transaction) => Promise<T> | T,
  signal: AbortSignal | undefined,
): Promise<T> {
  return hold(() => client.begin(), TRANSACTION, (open) => body(new Transaction(open, integers)), signal);
}

/** Begins the edit of a mutation, runs its body, and ends it; returns the id of the new mutation. @internal */
export async function inEdit(
  client: ffi.RejoinClientLike,
  id: string,
  integers: IntegerMode,
  body: (tx: Transaction) => unknown,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  let edited: string | undefined;
  const well = async (held: ffi.HeldTransactionLike): Promise<void> => {
    await held.commit();
    edited = held.edited();
  };
  await hold(() => client.beginEdit(id), { ...TRANSACTION, well }, (open) => body(new Transaction(open, integers)), signal);
  return edited;
}

/** Begins a snapshot, runs its body, and ends it. @internal */
export function inSnapshot<T>(
  client: ffi.RejoinClientLike,
  integers: IntegerMode,
  body: (snapshot: Snapshot) => Promise<T> | T,
  signal: AbortSignal | undefined,
): Promise<T> {
  return hold(() => client.beginRead(), SNAPSHOT, (open) => body(new Snapshot(open, integers)), signal);
}
