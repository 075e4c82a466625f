/** `RejoinDatabase`: a client and a hand-written fake serve the same code. */
import { expect, test } from 'vitest';
import { type QueueHandle, type RejoinDatabase, Subscription } from '../src/index';
import { FakeDatabase } from './support/fake';
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
