/** A hand-written fake of `RejoinDatabase`, as an app's tests may have one: fixed rows, and a record of what is written. */
import {
  type Change,
  type DatabaseReader,
  type DatabaseTransaction,
  type Performed,
  type RejoinDatabase,
  type SqlParam,
  type Statement,
  Subscription,
  type SyncStatus,
  type WatchedQuery,
  type WatchHandlers,
} from '../../src/index';

/** A fake: it returns fixed rows and records what is written. */
export class FakeDatabase implements RejoinDatabase, DatabaseTransaction {
  readonly written: [sql: string, params: readonly SqlParam[]][] = [];
  constructor(readonly found: readonly object[] = []) {}

  query = async <T>(): Promise<T[]> => [...this.found] as T[];
  queryOne = async <T>(): Promise<T | undefined> => this.found[0] as T | undefined;
  executeReturning = async <T>(): Promise<T[]> => [...this.found] as T[];
  async execute(given: string | Statement, params: readonly SqlParam[] = []): Promise<number> {
    this.written.push(typeof given === 'string' ? [given, params] : [given.sql, given.params ?? []]);
    return 1;
  }
  batch = (statements: readonly Statement[]): Promise<number[]> => Promise.all(statements.map((statement) => this.execute(statement)));
  executeScript = async (sql: string): Promise<void> => void this.written.push([sql, []]);
  transaction = async <T>(body: (tx: DatabaseTransaction) => Promise<T> | T): Promise<T> => body(this);
  savepoint = async <T>(body: () => Promise<T> | T): Promise<T> => body();
  read = async <T>(body: (snapshot: DatabaseReader) => Promise<T> | T): Promise<T> => body(this);
  perform = async <T>(): Promise<Performed<T>> => ({ value: null as T });
  watch<T>(sql: string, params: readonly SqlParam[], handlers: WatchHandlers<T>): Subscription;
  watch<T>(sql: string, params?: readonly SqlParam[]): WatchedQuery<T>;
  watch<T>(_sql: string, _params?: readonly SqlParam[], handlers?: WatchHandlers<T>): Subscription | WatchedQuery<T> {
    const rows = [...this.found] as T[];
    handlers?.onRows?.(rows, { rows });
    // The third argument may also be the options of a watch without handlers.
    if (handlers?.onRows !== undefined) return new Subscription(() => undefined);
    const once = async function* <V>(value: V): AsyncGenerator<V> {
      yield value;
    };
    return { [Symbol.asyncIterator]: () => once(rows), updates: () => once({ rows }) };
  }
  onChange = (_tables: readonly string[], _observer: (change: Change) => unknown): Subscription => new Subscription(() => undefined);
  onStatus = (_observer: (status: SyncStatus) => unknown): Subscription => new Subscription(() => undefined);
  status = (): SyncStatus => ({ state: { kind: 'offline', reason: 'a fake' }, firstSync: 'done', leftOut: [] });
  start = async (): Promise<void> => undefined;
  stop = async (): Promise<void> => undefined;
  shutdown = async (): Promise<void> => undefined;
}
