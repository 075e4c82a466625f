/** The rows of a collection follow the client; errors of the watch, and its end. */
import { InvalidInputError, type RejoinClient } from '@rejoin/react-native';
import { createCollection, createLiveQueryCollection, eq } from '@tanstack/db';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CREATE, device, newUser, sync } from '../../test/support/devices';
import { FakeDatabase } from '../../test/support/fake';
import { StoryServer } from '../../test/support/server';
import { opened, until, within, withTasks } from '../../test/support/world';
import { rejoinCollectionOptions } from '../src/index';
import { collect, plain, replacing, type TaskRow, tasksOf } from './support/collections';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

test('rows follow local and remote commits with booleans', async () => {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  await phone.execute(CREATE, [`${user}-1`, user, 'first']);
  const tasks = await tasksOf(phone);
  const row = (): unknown => plain(tasks.get(`${user}-1`));
  expect(row()).toMatchObject({ title: 'first', done: false, rank: 0, note: null });
  await phone.execute('UPDATE task SET done = ?', [true]);
  await until(() => tasks.get(`${user}-1`)?.done === true, 'the local write');
  await sync(phone, tablet);
  await tablet.execute("UPDATE task SET title = 'theirs', done = 0");
  await tablet.execute(CREATE, [`${user}-2`, user, 'second']);
  await sync(tablet, phone);
  await until(() => tasks.size === 2, 'the remote writes');
  expect(row()).toEqual(await phone.queryOne('SELECT * FROM task ORDER BY id'));
  await tablet.execute("DELETE FROM task WHERE title = 'theirs'");
  await sync(tablet, phone);
  await until(() => tasks.size === 1, 'the remote delete');
  expect(row()).toBeUndefined();
});

test('rows are the input of live queries', async () => {
  const user = newUser();
  const client = await device(server, user);
  const tasks = await tasksOf(client);
  const done = createLiveQueryCollection((q) =>
    q.from({ task: tasks }).where(({ task }) => eq(task.done, true)).select(({ task }) => ({ title: task.title })),
  );
  await done.preload();
  await tasks.insert([{ id: '1', user_id: user, title: 'a', done: true }, { id: '2', user_id: user, title: 'b', done: false }]).isPersisted.promise;
  expect(done.toArray.map(({ title }) => title)).toEqual(['a']);
  await done.cleanup();
});

test('rows without a change are not written', async () => {
  const client = await withTasks();
  await client.batch(['1', '2', '4'].map((id) => ({ sql: 'INSERT INTO task (id, title) VALUES (?, ?)', params: [id, id] })));
  const changed: string[] = [];
  const options = rejoinCollectionOptions<TaskRow>({ client, table: 'task', key: 'id' });
  const counted: typeof options.sync.sync = (actions) =>
    options.sync.sync({
      ...actions,
      write: (message) => {
        changed.push(`${message.type} ${'value' in message ? message.value.id : message.key}`);
        actions.write(message);
      },
    });
  const tasks = createCollection({ ...options, sync: { ...options.sync, sync: counted } });
  await tasks.preload();
  expect(changed.splice(0).sort()).toEqual(['insert 1', 'insert 2', 'insert 4']);
  await client.execute("UPDATE task SET title = 'new' WHERE id = '2'");
  await client.execute("INSERT INTO task (id, title) VALUES ('3', '3')");
  await client.execute("DELETE FROM task WHERE id = '1'");
  await until(() => !tasks.has('1') && tasks.has('3'), 'the last change');
  expect(changed.sort()).toEqual(['delete 1', 'insert 3', 'update 2']);
  await tasks.cleanup();
});

test('missing table is an error state until it exists', async () => {
  const client = await opened();
  const tasks = collect<TaskRow>({ client, table: 'task', key: 'id' });
  const error = await tasks.preload().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(InvalidInputError);
  expect((error as Error).message).toMatch(/no such table: task; .*first sync/);
  expect(tasks.status).toBe('error');
  await client.schema.createTable('task', 'id TEXT PRIMARY KEY, title TEXT NOT NULL');
  await until(() => tasks.status === 'ready', 'the recovery');
  await client.execute("INSERT INTO task VALUES ('1', 'a')");
  await until(() => tasks.has('1'), 'a row');
});

test('table that is created while its watch fails is not missed', async () => {
  const client = await opened();
  // The error arrives only after the commit that creates the table was reported.
  let created = 0;
  const watch = (...args: Parameters<RejoinClient['watch']>): unknown => {
    const inner = client.watch(...args) as unknown as AsyncIterable<object[]>;
    return (async function* () {
      try {
        yield* inner;
      } catch (error) {
        created += 1;
        if (created === 1) {
          const reported = new Promise((resolve) => client.onChange([], resolve));
          await client.schema.createTable('task', 'id TEXT PRIMARY KEY, title TEXT');
          await reported;
        }
        throw error;
      }
    })();
  };
  const tasks = collect<TaskRow>({ client: replacing(client, { watch }), table: 'task', key: 'id' });
  await until(() => tasks.status === 'ready', 'the recovery');
  expect(created).toBe(1);
});

test('dropped table is an error state', async () => {
  const client = await opened();
  await client.execute('CREATE TABLE own (id TEXT, title TEXT)');
  const rows = await tasksOf(client, { table: 'own' });
  await client.execute('DROP TABLE own');
  await until(() => rows.status === 'error', 'the error');
});

test.each([
  ['a column that is not unique', "('1', 'a'), ('2', 'a')", /two rows of own have the same title; choose the primary key/],
  ['a column with NULL', "('1', NULL)", /no text or number as title/],
])('key of %s is an error that names it', async (_, values, message) => {
  const client = await opened();
  await client.execute('CREATE TABLE own (id TEXT, title TEXT)');
  await client.execute(`INSERT INTO own VALUES ${values}`);
  await expect(tasksOf(client, { table: 'own', key: 'title' })).rejects.toThrow(message);
});

test('numbers, big integers and bytes are values', async () => {
  const client = await opened({ integers: 'bigint' });
  await client.execute('CREATE TABLE "own ""rows" (id INTEGER PRIMARY KEY, big INTEGER, data BLOB)');
  const rows = collect<{ id: number; big?: number | bigint | null; data?: Uint8Array | null }>({ client, table: 'own "rows', key: 'id' });
  await rows.preload();
  const row = { id: 7, big: 2n ** 62n, data: new Uint8Array([1, 2]) };
  await rows.insert(row).isPersisted.promise;
  expect(plain(rows.get(7))).toEqual(row);
  await rows.update(7, (draft) => void (draft.data = new Uint8Array([3]))).isPersisted.promise;
  expect(plain(rows.get(7))).toEqual({ ...row, data: new Uint8Array([3]) });
  expect(await client.queryOne('SELECT data FROM "own ""rows"')).toEqual({ data: new Uint8Array([3]) });
});

test('cleanup ends the watch, and the next use starts another', async () => {
  const client = await withTasks();
  const signals: (AbortSignal | undefined)[] = [];
  const watch = (sql: string, params: [], options: { signal?: AbortSignal }): unknown => {
    signals.push(options.signal);
    return client.watch(sql, params, options);
  };
  const tasks = await tasksOf(replacing(client, { watch }));
  expect(signals.map((signal) => signal?.aborted)).toEqual([false]);
  await tasks.cleanup();
  expect(signals.map((signal) => signal?.aborted)).toEqual([true]);
  await client.execute("INSERT INTO task (id, title) VALUES ('1', 'a')");
  await tasks.preload();
  expect(plain(tasks.get('1'))).toMatchObject({ title: 'a' });
  expect(signals.map((signal) => signal?.aborted)).toEqual([true, false]);
});

test('shutdown of the client keeps the rows and settles a write', async () => {
  const client = await withTasks();
  const batch: RejoinClient['batch'] = async (statements) => {
    const changed = await client.batch(statements);
    await client.shutdown();
    return changed;
  };
  const tasks = await tasksOf(replacing(client, { batch }));
  await within(tasks.insert({ id: '1', title: 'a' }).isPersisted.promise, 'the write');
  await expect(tasksOf(client)).rejects.toMatchObject({ code: 'Closed' });
});

test('collection runs with a fake', async () => {
  const fake = new FakeDatabase([{ id: '1', title: 'milk' }]);
  const watch = ((sql: string) => FakeDatabase.prototype.watch.call(fake, sql)) as FakeDatabase['watch'];
  const tasks = await tasksOf(Object.assign(fake, { watch, queue: { all: async () => [] } }));
  expect(tasks.toArray.map(plain)).toEqual([{ id: '1', title: 'milk' }]);
  await within(tasks.update('1', (draft) => void (draft.title = 'bread')).isPersisted.promise, 'the write');
  expect(fake.written).toEqual([['UPDATE "task" SET "title" = ? WHERE "id" = ?', ['bread', '1']]]);
});
