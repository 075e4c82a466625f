/**
 * The local half of a client: reading, writing, watching and the app's own tables, which need no server and no network.
 *
 * Promise: what a promise here confirms is on disk; what it refuses was not done.
 * Border: syncing and the life of the client are in `client.ts`.
 */
import { performing } from './acting';
import type { Performed } from './actions';
import { crossing, directly, ffi, lowerAll, lowerStatements, statementText, type Statement } from './border';
import { Subscription, tell } from './callback';
import { type Change, raiseChange } from './queue';
import { encodeJson, type Json, type JsonParam } from './json';
import { Reader } from './reader';
import type { DecodeOptions, Row, RowBuffer } from './row-buffer';
import { type AbortOptions, inSnapshot, inTransaction, type Snapshot, type Transaction } from './transaction';
import type { IntegerMode, SqlParam } from './value';
import { Watch, type WatchHandlers, type WatchOptions } from './watch';

/** The part of a client that works on the file alone. */
export abstract class Database extends Reader {
  /** Subscriptions that nobody else need keep: an observer that is garbage is no longer called. */
  readonly #subscriptions = new Set<Subscription>();

  /** @internal */
  protected constructor(integers: IntegerMode) {
    super(integers);
  }

  /** The engine's client, or an error if it has ended. @internal */
  protected abstract ffi(): ffi.RejoinClientLike;

  /** The results of several queries, all from one state of the database, in one call. Throws as {@link query} does. */
  async queryAll(statements: readonly Statement[], options: DecodeOptions = {}): Promise<RowBuffer[]> {
    const results = await crossing(async () => this.ffi().queryAll(lowerStatements(statements)));
    return results.map((bytes) => this.decoded(bytes, options));
  }

  /**
   * Runs one statement in a transaction of its own, and tells how many rows it changed.
   *
   * ```ts
   * await client.execute('UPDATE task SET done = ? WHERE id = ?', [true, id]);
   * ```
   *
   * What it writes to synced tables is in the queue, on disk, when this is done; it is pushed when there is a network.
   *
   * @throws InvalidInputError, ConstraintError: nothing was changed.
   */
  async execute(sql: string, params: readonly SqlParam[] = []): Promise<number> {
    return Number(await crossing(async () => this.ffi().execute(statementText(sql), lowerAll(params))));
  }

  /** Runs one statement that writes and gives rows (`INSERT ... RETURNING`). Throws as {@link execute} does. */
  async executeReturning<T = Row>(
    sql: string,
    params: readonly SqlParam[] = [],
    options: DecodeOptions = {},
  ): Promise<T[]> {
    const bytes = await crossing(async () => this.ffi().executeReturning(statementText(sql), lowerAll(params)));
    return this.decoded<T>(bytes, options).toArray();
  }

  /** Runs several statements without parameters, separated by `;`, in one transaction: all or none. */
  async executeBatch(sql: string): Promise<void> {
    await crossing(async () => this.ffi().executeBatch(statementText(sql)));
  }

  /**
   * Runs several statements in one transaction and one call, and tells how many rows each changed: all or none.
   *
   * ```ts
   * await client.batch(tasks.map(({ id, title }) => ({ sql: 'INSERT INTO task (id, title) VALUES (?, ?)', params: [id, title] })));
   * ```
   *
   * What they write to synced tables is one mutation, which the server accepts or refuses as a whole.
   */
  async batch(statements: readonly Statement[]): Promise<number[]> {
    return (await crossing(async () => this.ffi().batch(lowerStatements(statements)))).map(Number);
  }

  /**
   * Runs `body` in one transaction: all of what it writes, or nothing. What it writes to synced tables is one mutation.
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
   * Committed when the body's promise is fulfilled; rolled back when it is rejected, when the signal is aborted, when the client is
   * suspended or shut down, and when no statement came for `transactionIdleMs`. Other writes wait meanwhile; reads do not. Inside,
   * use the {@link Transaction}: a write by the client would wait for the end of this one.
   *
   * @throws whatever the body throws, after it was rolled back; EndedError, SuspendedError, TransactionTimeoutError.
   */
  async transaction<T>(body: (tx: Transaction) => Promise<T> | T, { signal }: AbortOptions = {}): Promise<T> {
    return inTransaction(this.ffi(), this.integers, body, signal);
  }

  /**
   * Performs an action that was registered when the file was opened: in one transaction, which becomes one mutation that knows its name and
   * arguments. As long as no server has it, it runs again when remote changes come in under it.
   *
   * ```ts
   * const { id, value } = await client.perform<{ left: number }>('take', { id: 'nails', n: 2 });
   * ```
   *
   * Works offline. The type parameter is a promise of the caller's, which nothing checks. An action that has begun is not ended by who
   * no longer waits for it; `suspend` and `shutdown` end one whose code waits.
   *
   * @throws ActionError if there is no such action, for arguments that it does not take, for what its own rules refuse, and where its code does
   *   not end; ActionTooSlowError and ActionTooLargeError beyond its {@link ActionBudget}; CallbackError with what its code threw as `cause`; and what {@link execute} throws. Nothing of it is kept then.
   */
  async perform<T = Json>(
    name: string,
    args: { readonly [name: string]: JsonParam | undefined } = {},
    { integers = this.integers }: DecodeOptions = {},
  ): Promise<Performed<T>> {
    return performing<T>(async () => this.ffi().perform(name, encodeJson(args, 'the arguments')), integers, name);
  }

  /** Runs `body` on one state of the database, whatever is written meanwhile. Throws what the body throws. */
  async read<T>(body: (snapshot: Snapshot) => Promise<T> | T, { signal }: AbortOptions = {}): Promise<T> {
    return inSnapshot(this.ffi(), this.integers, body, signal);
  }

  /**
   * Watches a query: its rows now, and again after each commit that changes them, whoever wrote.
   *
   * With handlers it begins at once and returns what ends it; without, it begins with a loop over it. See {@link Watch}. Begun while the
   * client is suspended, it waits for the resumption.
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
    const watch = new Watch<T>(() => this.ffi(), sql, params, { key: options.key, signal: options.signal, integers });
    const { onRows, onError } = options;
    return onRows === undefined ? watch : this.keep(watch.subscribe({ onRows, onError }));
  }

  /**
   * Calls `observer` after each commit that touched one of the tables, or any if none is named, until it is cancelled.
   *
   * It may call anything of the client. What it throws is shown on the console and changes nothing else.
   */
  onChange(tables: readonly string[], observer: (change: Change) => unknown): Subscription {
    return this.observe((told) => {
      const onChange = (change: ffi.Change): void => told(() => observer(raiseChange(change, this.integers)), 'an observer of changes');
      return this.ffi().onChange([...tables], { onChange });
    });
  }

  /** Makes a table of the app's own, unless it is there; it is not synced. `definition` is what stands between the parentheses. */
  async createTable(name: string, definition: string): Promise<void> {
    await crossing(async () => this.ffi().createTable(name, definition));
  }

  /** Adds a column to a table of the app's own; `definition` is its name, type and constraints. */
  async alterTable(name: string, definition: string): Promise<void> {
    await crossing(async () => this.ffi().alterTable(name, definition));
  }

  /** Makes an index on columns of a table, unless it is there, and tells its name. On synced tables too. */
  async createIndex(table: string, columns: readonly string[]): Promise<string> {
    return crossing(async () => this.ffi().createIndex(table, [...columns]));
  }

  /**
   * Makes a full-text index over columns of a synced table, and tells its name, `search_<table>`. It is kept in step with the table
   * whoever writes, and stays on this device; the same one again stays as it is, another is made anew.
   *
   * `SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank` finds by it. `tokenizer` is one of
   * FTS5's, `unicode61 remove_diacritics 2` if it is left out; `trigram` finds parts of words. Works offline; costs a scan of the table.
   *
   * @throws InvalidInputError for a table that is not synced, for no or an unknown column, and for an unknown tokenizer.
   */
  async createSearchIndex(table: string, columns: readonly string[], tokenizer?: string): Promise<string> {
    return crossing(async () => this.ffi().createSearchIndex(table, [...columns], tokenizer));
  }

  /** Removes the full-text index of a synced table, if it has one. */
  async dropSearchIndex(table: string): Promise<void> {
    await crossing(async () => this.ffi().dropSearchIndex(table));
  }

  protected override async fetch(sql: string, params: readonly SqlParam[]): Promise<ArrayBuffer> {
    return crossing(async () => this.ffi().query(statementText(sql), lowerAll(params)));
  }

  /** An observer of the engine's as a subscription; `told` calls the app, unless it was cancelled meanwhile. @internal */
  protected observe(begin: (told: (call: () => unknown, where: string) => void) => ffi.SubscriptionLike): Subscription {
    let live = true;
    const inner = directly(() => begin((call, where) => void (live && tell(call, where))));
    return this.keep(
      new Subscription(() => {
        live = false;
        directly(() => inner.cancel());
        (inner as { uniffiDestroy?: () => void }).uniffiDestroy?.();
      }),
    );
  }

  /** Holds a subscription until it is cancelled. @internal */
  protected keep(subscription: Subscription): Subscription {
    if (subscription.isCancelled) return subscription;
    this.#subscriptions.add(subscription);
    subscription.onEnd(() => this.#subscriptions.delete(subscription));
    return subscription;
  }

  /** Cancels whatever observes and watches. @internal */
  protected cancelAll(): void {
    for (const subscription of [...this.#subscriptions]) subscription.cancel();
  }
}
