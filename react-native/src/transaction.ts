/**
 * Transactions and snapshots: a stretch of asynchronous code in which the database belongs to it, or stands still for it.
 *
 * Promise: a transaction happens as a whole or not at all, whatever its body does: throw, hang, forget to wait, be aborted.
 * Border: the engine's thread serves the handle and ends it by itself when nobody speaks; here it is only begun and ended.
 */
import { type ffi, lowerAll, lowerStatements, statementText, type Statement } from './border';
import { hold, type Kind, type Open } from './held';
import { Reader } from './reader';
import type { DecodeOptions, Row } from './row-buffer';
import type { IntegerMode, SqlParam } from './value';

/** How a transaction or a snapshot may be ended from outside. */
export interface AbortOptions {
  /**
   * Ends it at once when it is aborted, wherever its body is: what was written is rolled back, and the promise is rejected with the
   * signal's reason. The body is not stopped, which JavaScript cannot do; its next statement fails. A commit that has begun is
   * not ended.
   */
  readonly signal?: AbortSignal | undefined;
}

/**
 * An open transaction, at hand while the body of {@link RejoinClient.transaction} runs.
 *
 * It sees what it wrote; nobody else does before the commit. Use it, not the client, inside: a write by the client waits for this
 * transaction, which waits for it, until the engine rolls the transaction back (`TransactionTimeoutError`, after 5 s without a
 * statement); then the client's write is done, which no transaction undoes. So does everything else that needs the engine's writer, and
 * `suspend` and `shutdown` end the transaction: other languages refuse all that at once, but JavaScript cannot know where a call stands.
 */
export class Transaction extends Reader {
  readonly #open: Open<ffi.HeldTransactionLike>;

  /** @internal */
  constructor(open: Open<ffi.HeldTransactionLike>, integers: IntegerMode) {
    super(integers);
    this.#open = open;
  }

  /**
   * Runs one statement and tells how many rows it changed.
   *
   * @throws InvalidInputError, ConstraintError: the transaction goes on without what the statement did.
   */
  async execute(sql: string, params: readonly SqlParam[] = []): Promise<number> {
    return Number(await this.#open.call((held) => held.execute(statementText(sql), lowerAll(params))));
  }

  /** Runs one statement that writes and gives rows (`INSERT ... RETURNING`). Throws as {@link execute} does. */
  async executeReturning<T = Row>(
    sql: string,
    params: readonly SqlParam[] = [],
    options: DecodeOptions = {},
  ): Promise<T[]> {
    // A statement of a transaction may give rows and write.
    return this.decoded<T>(await this.fetch(sql, params), options).toArray();
  }

  /**
   * Runs several statements in one call, and tells how many rows each changed. When one fails, the whole batch is undone and its
   * error thrown; the transaction goes on without it.
   */
  async batch(statements: readonly Statement[]): Promise<number[]> {
    return (await this.#open.call((held) => held.batch(lowerStatements(statements)))).map(Number);
  }

  /**
   * Runs a part that can fail alone: when `body` throws, what it wrote is undone, the error is passed on, and the transaction can go on.
   *
   * ```ts
   * await client.transaction(async (tx) => {
   *   await tx.execute('INSERT INTO task (id, title) VALUES (?, ?)', ['1', 'kept']);
   *   await tx.savepoint(() => tx.execute('INSERT INTO task (id) VALUES (?)', ['1'])).catch(() => 'taken already');
   * });
   * ```
   *
   * Savepoints nest, and end in the order in which they nest: wait for one before the next begins beside it, and before the
   * transaction's body ends. One that ends while one inside it is open throws an `InvalidInputError` and stays open. One that is
   * open at the end rolls the transaction back, with an `InvalidInputError`: nobody knows whether its part is to stay.
   */
  async savepoint<T>(body: () => Promise<T> | T): Promise<T> {
    const part = await this.#open.call((held) => held.savepoint());
    let result: T;
    try {
      result = await body();
    } catch (error) {
      // Where all of it has ended there is nothing to undo, and `error` says more than a second one would. What cannot be undone
      // stays open, and is never committed.
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
 * A state of the database that does not change, at hand while the body of {@link RejoinClient.read} runs.
 *
 * Everything that it reads belongs together, whatever is written meanwhile. Nobody waits for it.
 */
export class Snapshot extends Reader {
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

/** Begins the edit of a mutation, runs its body, and ends it; the id of what it has become. @internal */
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
