/** `RejoinDatabase`: a client and a hand-written fake serve the same code. */
import { expect, test } from 'vitest';
import {
  type Change,
  type DatabaseReader,
  type DatabaseTransaction,
  type Performed,
  type QueueHandle,
  type RejoinDatabase,
  type SqlParam,
  type Statement,
  Subscription,
  type SyncStatus,
  type WatchedQuery,
  type WatchHandlers,
} from '../src/index';
import { within, withTasks } from './support/world';

type Task = { id: string; title: string };

/** Code of an app, which depends only on the interface. */
class TaskList {
  constructor(readonly db: RejoinDatabase) {}

  async add(id: string, title: string): Promise<void> {
    await this.db.execute('INSERT INTO task (id, title) VALUES (?, ?)', [id, title]);
  }

  rename(id: string, title: string): Promise<string | undefined> {
    return this.db.transaction(async (tx) => {
      const before = await tx.queryOne<Task>('SELECT id, title FROM task WHERE id = ?', [id]);
      await tx.execute({ sql: 'UPDATE task SET title = ? WHERE id = ?', params: [title, id] });
      return before?.title;
    });
  }

  async first(): Promise<string[]> {
    for await (const tasks of this.db.watch<Task>('SELECT id, title FROM task ORDER BY id')) return tasks.map((task) => task.title);
    return [];
  }
}

/** A fake: it returns fixed rows and records what is written. */
class FakeDatabase implements RejoinDatabase, DatabaseTransaction {
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
    handlers?.onRows(rows, { rows });
    if (handlers !== undefined) return new Subscription(() => undefined);
    const once = async function* <V>(value: V): AsyncGenerator<V> {
      yield value;
    };
    return { [Symbol.asyncIterator]: () => once(rows), updates: () => once({ rows }) };
  }
  onChange = (_tables: readonly string[], _observer: (change: Change) => unknown): Subscription => new Subscription(() => undefined);
  onStatus = (_observer: (status: SyncStatus) => unknown): Subscription => new Subscription(() => undefined);
  status = (): SyncStatus => ({ state: { kind: 'offline', why: 'a fake' }, firstSync: 'done' });
  start = async (): Promise<void> => undefined;
  stop = async (): Promise<void> => undefined;
  shutdown = async (): Promise<void> => undefined;
}

test('code of an app runs with a fake', async () => {
  const db = new FakeDatabase([{ id: '1', title: 'milk' }]);
  const tasks = new TaskList(db);
  await tasks.add('1', 'milk');
  expect(await tasks.rename('1', 'bread')).toBe('milk');
  expect(await tasks.first()).toEqual(['milk']);
  expect(db.written).toEqual([
    ['INSERT INTO task (id, title) VALUES (?, ?)', ['1', 'milk']],
    ['UPDATE task SET title = ? WHERE id = ?', ['bread', '1']],
  ]);
});

test('the same code runs with a client', async () => {
  const tasks = new TaskList(await withTasks());
  await tasks.add('1', 'milk');
  expect(await tasks.rename('1', 'bread')).toBe('milk');
  expect(await within(tasks.first(), 'the first result')).toEqual(['bread']);
});

test('a part of a handle can be a plain object', async () => {
  const waiting = async (queue: Pick<QueueHandle, 'counts'>): Promise<number> => (await queue.counts()).pending;
  expect(await waiting({ counts: async () => ({ pending: 3, sent: 0, uncertain: 0, parked: 0 }) })).toBe(3);
  expect(await waiting((await withTasks()).queue)).toBe(0);
});

test('subscription of a fake ends once', () => {
  let ends = 0;
  const subscription = new Subscription(() => (ends += 1));
  subscription.cancel();
  subscription.cancel();
  expect([ends, subscription.isCancelled]).toEqual([1, true]);
});
