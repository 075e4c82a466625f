/** Writes of a collection: one mutation for each transaction, an optimistic state that ends without a flicker, and rejected writes. */
import { ConstraintError, InvalidInputError, type PendingMutation, type RejoinClient } from '@rejoin/react-native';
import { createCollection, createTransaction, localOnlyCollectionOptions } from '@tanstack/db';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { CREATE, device, newUser, sync } from '../../test/support/devices';
import { StoryServer } from '../../test/support/server';
import { gate, until, within, withTasks } from '../../test/support/world';
import { rejoinMutationFn } from '../src/index';
import { collect, plain, replacing, type Rows, type TaskRow, tasksOf } from './support/collections';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

const inFile = (client: RejoinClient): Promise<object[]> => client.query('SELECT * FROM task ORDER BY id');
const shown = (tasks: Rows<TaskRow>): unknown[] => [...tasks.keys()].sort().map((id) => plain(tasks.get(id)));

test('each write is one mutation, and the collection equals the client', async () => {
  const user = newUser();
  const phone = await device(server, user);
  const tasks = await tasksOf(phone);
  const inserted = tasks.insert([{ id: 'a', user_id: user, title: 'a', done: true }, { id: 'b', user_id: user, title: 'b' }]);
  expect(plain(tasks.get('a')), 'optimistic').toEqual({ id: 'a', user_id: user, title: 'a', done: true });
  await inserted.isPersisted.promise;
  expect(await phone.queue.all()).toHaveLength(1);
  expect(shown(tasks)).toEqual(await inFile(phone));
  expect(tasks.get('b')).toMatchObject({ done: false, rank: 0, note: null });

  await tasks.update(['a', 'b'], (drafts) => drafts.forEach((draft) => Object.assign(draft, { done: false, note: 'x' }))).isPersisted.promise;
  expect(await phone.queue.all()).toHaveLength(2);
  await tasks.update('a', (draft) => void (draft.note = null)).isPersisted.promise;
  expect((await phone.queue.all()).at(-1)?.rows.map(({ columns }) => columns.map(({ name }) => name))).toEqual([['note']]);
  expect(shown(tasks)).toEqual(await inFile(phone));
  await tasks.delete('b').isPersisted.promise;
  expect(shown(tasks)).toEqual(await inFile(phone));
  expect(tasks.size).toBe(1);
  await sync(phone);
  expect(await server.rows(`SELECT title, done, note FROM task WHERE user_id = '${user}' AND deleted_at IS NULL`)).toEqual([['a', 0, null]]);
});

test('optimistic state ends without a flicker', async () => {
  const client = await withTasks();
  const tasks = await tasksOf(client);
  await tasks.insert({ id: '1', title: 'a' }).isPersisted.promise;
  const titles: (string | undefined)[] = [];
  tasks.subscribeChanges((changes) => titles.push(...changes.map(({ type, value }) => (type === 'delete' ? undefined : value.title))));
  for (const title of ['b', 'c', 'd']) await tasks.update('1', (draft) => void (draft.title = title)).isPersisted.promise;
  // Each title may be reported twice, as the optimistic and as the written row, but never an older one after a newer.
  expect(titles).toEqual([...titles].sort());
  expect(new Set(titles)).toEqual(new Set(['b', 'c', 'd']));
  titles.length = 0;
  await tasks.delete('1').isPersisted.promise;
  expect(titles).toEqual([undefined]);
});

test('watch result from before the write does not end the optimistic state', async () => {
  const client = await withTasks();
  // A watch whose results arrive late: after the write, one from before it is under way.
  let late: (() => void) | undefined;
  const watch = (...args: Parameters<RejoinClient['watch']>): unknown => {
    const inner = client.watch(...args) as unknown as AsyncIterable<object[]>;
    return (async function* () {
      for await (const rows of inner) {
        if (late === undefined && rows.length === 1) await new Promise<void>((resolve) => (late = resolve));
        yield rows;
      }
    })();
  };
  const tasks = await tasksOf(replacing(client, { watch }));
  await client.execute("INSERT INTO task (id, title) VALUES ('1', 'other')");
  await until(() => late !== undefined, 'the result that is late');
  const insert = tasks.insert({ id: '2', title: 'mine' });
  let isPersisted = false;
  void insert.isPersisted.promise.then(() => (isPersisted = true));
  await until(async () => (await inFile(client)).length === 2, 'the write');
  expect([isPersisted, tasks.has('2')]).toEqual([false, true]);
  late?.();
  await within(insert.isPersisted.promise, 'the write');
  expect([...tasks.keys()].sort()).toEqual(['1', '2']);
});

test('write that changes nothing settles', async () => {
  const client = await withTasks();
  const tasks = await tasksOf(client);
  await tasks.insert({ id: '1', title: 'a' }).isPersisted.promise;
  const renamed = tasks.update('1', (draft) => void (draft.title = 'b'));
  const again = tasks.update('1', (draft) => void (draft.note = undefined as never));
  await within(renamed.isPersisted.promise, 'the update');
  await expect(within(again.isPersisted.promise, 'the update of a missing column')).rejects.toThrow(/note/);
  await client.execute("UPDATE task SET title = 'c'");
  await within(tasks.update('1', (draft) => void (draft.title = 'c')).isPersisted.promise, 'the same value');
  expect(tasks.get('1')?.title).toBe('c');
});

test('cleanup during writes settles them', async () => {
  const client = await withTasks();
  // No result of a watch arrives after the first.
  let watches = 0;
  const held = gate();
  const watch = (...args: Parameters<RejoinClient['watch']>): unknown => {
    const inner = client.watch(...args) as unknown as AsyncIterable<object[]>;
    const isHeld = (watches += 1) > 1;
    return (async function* () {
      for await (const rows of inner) {
        if (isHeld) {
          held.open();
          await new Promise(() => undefined);
        }
        yield rows;
      }
    })();
  };
  const tasks = await tasksOf(replacing(client, { watch }));
  const first = tasks.insert({ id: '1', title: 'a' });
  await within(held.promise, 'the watch after the first write');
  const second = tasks.insert({ id: '2', title: 'b' });
  await until(async () => (await inFile(client)).length === 2, 'the second write');
  await client.query('SELECT 1');
  await tasks.cleanup();
  await within(Promise.all([first.isPersisted.promise, second.isPersisted.promise]), 'the writes');
});

test('many concurrent writes settle', async () => {
  const client = await withTasks();
  const tasks = await tasksOf(client);
  const inserts = Array.from({ length: 100 }, (_, at) => tasks.insert({ id: String(at), title: 'a' }));
  await within(Promise.all(inserts.map(({ isPersisted }) => isPersisted.promise)), 'the inserts');
  expect(shown(tasks)).toEqual(await inFile(client));
  expect(tasks.size).toBe(100);
});

test('local error rolls the optimistic state back and is typed', async () => {
  const client = await withTasks();
  const tasks = await tasksOf(client);
  const insert = tasks.insert([{ id: '1', title: 'a' }, { id: '2', title: null as never }]);
  expect(tasks.size).toBe(2);
  await expect(insert.isPersisted.promise).rejects.toBeInstanceOf(ConstraintError);
  expect([tasks.size, await inFile(client)]).toEqual([0, []]);
  await expect(tasks.insert({ id: '1', title: new Date() as never }).isPersisted.promise).rejects.toThrow(/is a Date/);
});

test('copy of a row of a collection is inserted', async () => {
  const client = await withTasks();
  const tasks = await tasksOf(client);
  await tasks.insert({ id: '1', title: 'a', note: undefined as never }).isPersisted.promise;
  await tasks.insert({ ...tasks.get('1')!, id: '2' }).isPersisted.promise;
  expect(tasks.get('2')?.title).toBe('a');
});

test('rejected update returns to the value of the server with its reason', async () => {
  const user = newUser();
  const phone = await device(server, user);
  await phone.execute(CREATE, [`${user}-1`, user, 'first']);
  await sync(phone);
  const reported: [PendingMutation, string | undefined][] = [];
  const tasks: Rows<TaskRow> = await tasksOf(phone, { onParked: (mutation) => reported.push([mutation, tasks.get(`${user}-1`)?.title]) });
  await tasks.update(`${user}-1`, (draft) => void (draft.title = 'refused')).isPersisted.promise;
  expect([tasks.get(`${user}-1`)?.title, await tasks.utils.parked()]).toEqual(['refused', []]);
  await sync(phone);
  await until(() => reported.length === 1, 'the report');
  const [[mutation, title]] = reported as [[PendingMutation, string]];
  expect(mutation).toMatchObject({ state: 'parked', reason: 'rejected', rows: [{ table: 'task', key: `${user}-1` }] });
  expect(mutation.detail?.message).toMatch(/./);
  expect(title, 'the row at the time of the report').toBe('first');
  expect((await tasks.utils.parked()).map(({ id }) => id)).toEqual([mutation.id]);
  expect(plain(tasks.get(`${user}-1`))).toEqual((await inFile(phone))[0]);

  // Later changes of the queue do not report it again.
  await tasks.insert({ id: `${user}-2`, user_id: user, title: 'refused' }).isPersisted.promise;
  await sync(phone);
  await until(() => reported.length > 1, 'the report of the insert');
  expect(reported.map(([{ rows }]) => rows[0]?.key)).toEqual([`${user}-1`, `${user}-2`]);
  await phone.queue.discard(reported[1]?.[0].id ?? '');

  // A retry that is rejected again is another attempt.
  await phone.queue.retry(mutation.id);
  await sync(phone);
  await until(() => reported.length === 3, 'the report of the second attempt');
  await phone.queue.discard(mutation.id);
  await tasks.update(`${user}-1`, (draft) => void (draft.title = 'second')).isPersisted.promise;
  await sync(phone);
  expect([await tasks.utils.parked(), tasks.get(`${user}-1`)?.title, reported.length]).toEqual([[], 'second', 3]);
});

test('report of a parked mutation waits for the rows', async () => {
  const user = newUser();
  const phone = await device(server, user);
  await phone.execute(CREATE, [`${user}-1`, user, 'first']);
  await sync(phone);
  // Results of the watch wait while they are held up.
  let held: Promise<void> = Promise.resolve();
  const watch = (...args: Parameters<RejoinClient['watch']>): unknown => {
    const inner = phone.watch(...args) as unknown as AsyncIterable<object[]>;
    return (async function* () {
      for await (const rows of inner) {
        await held;
        yield rows;
      }
    })();
  };
  let parked = 0;
  const all = async (): Promise<PendingMutation[]> => {
    const mutations = await phone.queue.all();
    parked = mutations.filter(({ state }) => state === 'parked').length;
    return mutations;
  };
  const titles: (string | undefined)[] = [];
  const onParked = (): unknown => titles.push(tasks.get(`${user}-1`)?.title);
  const tasks: Rows<TaskRow> = await tasksOf(replacing(phone, { watch, queue: { all } }), { onParked });
  await tasks.update(`${user}-1`, (draft) => void (draft.title = 'refused')).isPersisted.promise;
  const results = gate();
  held = results.promise;
  await sync(phone);
  await until(() => parked === 1, 'the parked mutation');
  await phone.query('SELECT 1');
  expect([titles, tasks.get(`${user}-1`)?.title]).toEqual([[], 'refused']);
  results.open();
  await until(() => titles.length > 0, 'the report');
  expect(titles).toEqual(['first']);
});

test('rejected insert is removed, and a later collection reports it', async () => {
  const user = newUser();
  const phone = await device(server, user);
  const tasks = await tasksOf(phone);
  await tasks.insert({ id: `${user}-1`, user_id: user, title: 'refused' }).isPersisted.promise;
  await sync(phone);
  await until(() => tasks.size === 0, 'the rollback');
  const reported: unknown[] = [];
  await tasksOf(phone, { onParked: ({ reason }) => reported.push(reason) });
  await until(() => reported.length > 0, 'the report');
  // The tables of a mutation decide which collection reports it.
  const printed = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const tags = collect<{ id: string }>({ client: phone, table: 'tag', key: 'id', onParked: () => reported.push('of another table') });
  const failing = await tasksOf(phone, { table: 'TASK', onParked: () => { throw new Error('of the app'); } });
  await until(() => printed.mock.calls.length > 0, 'the printed error');
  expect([await tags.utils.parked(), (await failing.utils.parked()).length, reported]).toEqual([[], 1, ['rejected']]);
  expect(printed.mock.calls.flat().map(String)).toContainEqual(expect.stringContaining('of the app'));
  printed.mockRestore();
});

test('conflict returns to the value of the server', async () => {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  await phone.execute(CREATE, [`${user}-1`, user, 'first']);
  await sync(phone, tablet);
  const reasons: unknown[] = [];
  const tasks = await tasksOf(phone, { onParked: ({ reason }) => reasons.push(reason) });
  await tablet.execute("UPDATE task SET title = 'theirs'");
  await tasks.update(`${user}-1`, (draft) => void (draft.title = 'mine')).isPersisted.promise;
  await sync(tablet, phone);
  await until(() => reasons.length > 0, 'the report');
  expect([reasons, tasks.get(`${user}-1`)?.title]).toEqual([['conflicted'], 'theirs']);
  const [parked] = await tasks.utils.parked();
  await phone.queue.retryChain(parked?.id ?? '');
  await until(() => tasks.get(`${user}-1`)?.title === 'mine', 'the decision');
});

test('transaction over several collections is one mutation', async () => {
  const user = newUser();
  const phone = await device(server, user);
  const tasks = await tasksOf(phone);
  const tags = collect<{ id: string; task_id: string; name: string }>({ client: phone, table: 'tag', key: 'id' });
  await tags.preload();
  const transaction = createTransaction({ mutationFn: rejoinMutationFn });
  transaction.mutate(() => {
    tasks.insert({ id: '1', user_id: user, title: 'a' });
    tags.insert({ id: 'g', task_id: '1', name: 'x' });
  });
  await transaction.isPersisted.promise;
  expect([tasks.get('1')?.done, tags.has('g')]).toEqual([false, true]);
  expect((await phone.queue.all()).map(({ rows }) => rows.map(({ table }) => table))).toEqual([['task', 'tag']]);
});

test('transaction over other collections is refused', async () => {
  const [one, two] = [await withTasks(), await withTasks()];
  const [tasks, others] = [await tasksOf(one), await tasksOf(two)];
  const local = createCollection(localOnlyCollectionOptions<{ id: string }>({ id: 'drafts', getKey: ({ id }) => id }));
  const refused = async (mutate: () => void): Promise<unknown> => {
    const transaction = createTransaction({ mutationFn: rejoinMutationFn, autoCommit: false });
    transaction.mutate(mutate);
    return transaction.commit().catch((error: unknown) => error);
  };
  const clients = await refused(() => [tasks, others].forEach((each) => each.insert({ id: '1', title: 'a' })));
  expect(clients).toBeInstanceOf(InvalidInputError);
  expect((clients as Error).message).toMatch(/different clients/);
  const foreign = await refused(() => {
    tasks.insert({ id: '1', title: 'a' });
    local.insert({ id: '1' });
  });
  expect((foreign as Error).message).toMatch(/collection drafts is not from rejoinCollectionOptions/);
  expect([await inFile(one), await inFile(two), tasks.size]).toEqual([[], [], 0]);
});
