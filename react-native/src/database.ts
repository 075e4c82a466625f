/**
 * The interface of the everyday calls of a client, for code that is tested with a fake.
 *
 * It has only types that a fake can create. `rows` and `queryMany` return row buffers of the engine, and the handles belong to one file:
 * code that needs them takes the {@link RejoinClient}, or a part of a handle such as `Pick<QueueHandle, 'counts'>`. The methods are
 * documented in `local.ts` and `client.ts`.
 */
import type { Performed } from './action-types';
import type { Change, Subscription } from './callback';
import type { Json, JsonParam } from './json';
import type { DecodeOptions, Row } from './row-buffer';
import type { Statement } from './statement';
import type { SyncStatus } from './status';
import type { AbortOptions } from './transaction';
import type { SqlParam } from './value';
import type { WatchedQuery, WatchHandlers, WatchOptions } from './watch';

/** Queries of one state of the database: a {@link Snapshot}, or a fake. */
export interface DatabaseReader {
  query<T = Row>(sql: string, params?: readonly SqlParam[], options?: DecodeOptions): Promise<T[]>;
  queryOne<T = Row>(sql: string, params?: readonly SqlParam[], options?: DecodeOptions): Promise<T | undefined>;
}

/** Queries and writes. */
export interface DatabaseWriter extends DatabaseReader {
  execute(sql: string, params?: readonly SqlParam[]): Promise<number>;
  execute(statement: Statement): Promise<number>;
  executeReturning<T = Row>(sql: string, params?: readonly SqlParam[], options?: DecodeOptions): Promise<T[]>;
  batch(statements: readonly Statement[]): Promise<number[]>;
}

/** An open transaction: a {@link Transaction}, or a fake. */
export interface DatabaseTransaction extends DatabaseWriter {
  savepoint<T>(body: () => Promise<T> | T): Promise<T>;
}

/**
 * The everyday calls of a database: a {@link RejoinClient}, or a fake.
 *
 * ```ts
 * async function addTask(db: RejoinDatabase, title: string): Promise<void> {
 *   await db.execute('INSERT INTO task (id, title) VALUES (?, ?)', [newId(), title]);
 * }
 * ```
 */
export interface RejoinDatabase extends DatabaseWriter {
  executeScript(sql: string): Promise<void>;
  transaction<T>(body: (tx: DatabaseTransaction) => Promise<T> | T, options?: AbortOptions): Promise<T>;
  read<T>(body: (snapshot: DatabaseReader) => Promise<T> | T, options?: AbortOptions): Promise<T>;
  perform<T = Json>(
    name: string,
    args?: { readonly [name: string]: JsonParam | undefined },
    options?: DecodeOptions,
  ): Promise<Performed<T>>;
  watch<T = Row>(sql: string, params: readonly SqlParam[], handlers: WatchHandlers<T> & WatchOptions): Subscription;
  watch<T = Row>(sql: string, params?: readonly SqlParam[], options?: WatchOptions): WatchedQuery<T>;
  onChange(tables: readonly string[], observer: (change: Change) => unknown): Subscription;
  status(): SyncStatus;
  onStatus(observer: (status: SyncStatus) => unknown): Subscription;
  start(): Promise<void>;
  stop(): Promise<void>;
  shutdown(): Promise<void>;
}
