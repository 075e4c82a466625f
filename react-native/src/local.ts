/**
 * The local part of a client: reading, writing, actions, watches and changes. None of it needs a network.
 *
 * A fulfilled promise means that the write is on disk; a rejected one means that nothing was written. The life of a client and its handles
 * are in `client.ts`, the interface for fakes in `database.ts`.
 */
import { performing } from './acting';
import type { Performed } from './action-types';
import type { ffi } from './border';
import { type Change, raiseChange, type Subscription } from './callback';
import type { Engine } from './engine';
import { encodeJson, type Json, type JsonParam } from './json';
import { Reader } from './reader';
import type { DecodeOptions, Row, RowBuffer } from './row-buffer';
import { execute, lowerAll, lowerStatements, type Statement, statementText } from './statement';
import { type AbortOptions, inSnapshot, inTransaction, type Snapshot, type Transaction } from './transaction';
import type { SqlParam } from './value';
import { Watch, type WatchHandlers, type WatchOptions } from './watch';

/** The part of a client that uses only the file. */
export abstract class LocalClient extends Reader {
  /** @internal */
  protected readonly engine: Engine;

  /** @internal */
  protected constructor(engine: Engine) {
    super(engine.integers);
    this.engine = engine;
  }

  /** Runs several queries on the same state of the database, in one call. Throws as {@link query} does. */
  async queryMany(statements: readonly Statement[], options: DecodeOptions = {}): Promise<RowBuffer[]> {
    const results = await this.engine.call((inner) => inner.queryMany(lowerStatements(statements)));
    return results.map((bytes) => this.decoded(bytes, options));
  }

  /**
   * Runs one statement in its own transaction and returns the number of rows that it changed.
   *
   * ```ts
   * await client.execute('UPDATE task SET done = ? WHERE id = ?', [true, id]);
   * ```
   *
   * When the promise is fulfilled, writes to synced tables are on disk and in the queue; they are pushed when there is a network.
   *
   * @throws InvalidInputError, ConstraintError: nothing was changed.
   */
  execute(sql: string, params?: readonly SqlParam[]): Promise<number>;
  /** Runs a {@link Statement}, such as one that generated code returns, as `execute(sql, params)` does. */
  execute(statement: Statement): Promise<number>;
  async execute(statement: string | Statement, params?: readonly SqlParam[]): Promise<number> {
    return this.engine.call((inner) => execute(inner, statement, params));
  }

  /** Runs one statement that writes and returns rows (`INSERT ... RETURNING`). Throws as {@link execute} does. */
  async executeReturning<T = Row>(
    sql: string,
    params: readonly SqlParam[] = [],
    options: DecodeOptions = {},
  ): Promise<T[]> {
    const bytes = await this.engine.call((inner) => inner.executeReturning(statementText(sql), lowerAll(params)));
    return this.decoded<T>(bytes, options).toArray();
  }

  /** Runs several statements without parameters, separated by `;`, in one transaction: all or none. */
  async executeScript(sql: string): Promise<void> {
    await this.engine.call((inner) => inner.executeScript(statementText(sql)));
  }

  /**
   * Runs several statements in one transaction and one call, and returns the number of rows that each changed: all or none.
   *
   * ```ts
   * await client.batch(tasks.map(({ id, title }) => ({ sql: 'INSERT INTO task (id, title) VALUES (?, ?)', params: [id, title] })));
   * ```
   *
   * Their writes to synced tables are one mutation, which the server accepts or rejects as a whole.
   */
  async batch(statements: readonly Statement[]): Promise<number[]> {
    return (await this.engine.call((inner) => inner.batch(lowerStatements(statements)))).map(Number);
  }

  /**
   * Runs `body` in one transaction: all or nothing. Its writes to synced tables are one mutation.
   *
   * ```ts
   * const moved = await client.transaction(async (tx) => {
   *   const stock = await tx.queryOne<{ n: number }>('SELECT n FROM stock WHERE place = ?', ['here']);
   *   if (stock === undefined || stock.n < 3) throw new Error('too few');
   *   await tx.execute('UPDATE stock SET n = n - 3 WHERE place = ?', ['here']);
   *   return tx.execute('UPDATE stock SET n = n + 3 WHERE place = ?', ['there']);
   * });
   * ```
   *
   * Commits when the body's promise is fulfilled. Rolls back when it is rejected, when the signal is aborted, when the client is suspended
   * or shut down, and after `transactionIdleMs` without a statement. Other writes wait; reads do not. Inside the body, use the
   * {@link Transaction}: a write through the client waits for the end of this transaction.
   *
   * @throws what the body throws, after the rollback; ClosedError, SuspendedError, TransactionTimeoutError.
   */
  async transaction<T>(body: (tx: Transaction) => Promise<T> | T, { signal }: AbortOptions = {}): Promise<T> {
    return inTransaction(this.engine.ffi, this.integers, body, signal);
  }

  /**
   * Performs a registered action in one transaction, which becomes one mutation with the action's name and arguments. Until it is sent, the
   * action runs again when remote changes reach rows that it used.
   *
   * ```ts
   * const { id, value } = await client.perform<{ left: number }>('take', { id: 'nails', n: 2 });
   * ```
   *
   * Works offline. The type parameter is not checked. A running action cannot be cancelled by the caller; `suspend` and `shutdown` cancel
   * one whose handler is waiting.
   *
   * @throws ActionError for an unknown action, invalid arguments, a refusal by its rules, and a handler that does not end;
   *   ActionTooSlowError and ActionTooLargeError beyond its {@link ActionBudget}; CallbackError with the handler's error as `cause`; and
   *   what {@link execute} throws. The action was rolled back then.
   */
  async perform<T = Json>(
    name: string,
    args: { readonly [name: string]: JsonParam | undefined } = {},
    { integers = this.integers }: DecodeOptions = {},
  ): Promise<Performed<T>> {
    return performing<T>(async () => this.engine.ffi.perform(name, encodeJson(args, 'the arguments')), integers, name);
  }

  /** Runs `body` on one state of the database, unaffected by concurrent writes. Throws what the body throws. */
  async read<T>(body: (snapshot: Snapshot) => Promise<T> | T, { signal }: AbortOptions = {}): Promise<T> {
    return inSnapshot(this.engine.ffi, this.integers, body, signal);
  }

  /**
   * Watches a query: returns its rows now, and again after each local or remote commit that changes them.
   *
   * With handlers the watch starts at once, and the subscription ends it. Without handlers it starts with a loop over it; see
   * {@link Watch}. A watch started while the client is suspended waits for `resume`.
   *
   * ```ts
   * const subscription = client.watch<Task>('SELECT * FROM task', [], { onRows: setTasks, onError: setError });
   * ```
   */
  watch<T = Row>(sql: string, params: readonly SqlParam[], handlers: WatchHandlers<T> & WatchOptions): Subscription;
  watch<T = Row>(sql: string, params?: readonly SqlParam[], options?: WatchOptions): Watch<T>;
  watch<T = Row>(
    sql: string,
    params: readonly SqlParam[] = [],
    options: WatchOptions & Partial<WatchHandlers<T>> = {},
  ): Watch<T> | Subscription {
    const integers = options.integers ?? this.integers;
    const watch = new Watch<T>(() => this.engine.ffi, sql, params, { key: options.key, signal: options.signal, integers });
    const { onRows, onError } = options;
    return onRows === undefined ? watch : this.engine.keep(watch.subscribe({ onRows, onError }));
  }

  /**
   * Calls `observer` after each commit that changed one of the tables, or any table if the list is empty, until it is cancelled.
   *
   * The observer may call any method of the client. An error that it throws is printed on the console and has no other effect.
   */
  onChange(tables: readonly string[], observer: (change: Change) => unknown): Subscription {
    return this.engine.observe((inner, notify) => {
      const onChange = (change: ffi.Change): void => notify(() => observer(raiseChange(change, this.integers)), 'an observer of changes');
      return inner.onChange([...tables], { onChange });
    });
  }

  protected override async fetch(sql: string, params: readonly SqlParam[]): Promise<ArrayBuffer> {
    return this.engine.call((inner) => inner.query(statementText(sql), lowerAll(params)));
  }
}
