// @vitest-environment happy-dom
/** Parked mutations as a hook: real conflicts and rejections of the server, and each decision. */
import type { RejoinClient } from '@rejoin/react-native';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CREATE, device, newUser, sync } from '../../test/support/devices';
import { StoryServer } from '../../test/support/server';
import { until } from '../../test/support/world';
import { type ParkedWrites, updateRow, useParkedWrites } from '../src/index';
import { mount, type Mounted } from './support/hooks';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

interface Scene {
  readonly user: string;
  readonly phone: RejoinClient;
  readonly tablet: RejoinClient;
  readonly parked: Mounted<ParkedWrites, undefined>;
}

/** Both devices changed the title of one task, and the phone came second. */
async function conflict(): Promise<Scene> {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  const parked = mount(phone, () => useParkedWrites());
  await until(() => !parked.last().isLoading, 'the first read');
  expect(parked.last().writes).toEqual([]);
  await phone.execute(CREATE, [`${user}-1`, user, 'first']);
  await sync(phone, tablet);
  await tablet.execute("UPDATE task SET title = 'theirs'");
  await phone.execute("UPDATE task SET title = 'mine', note = 'my note', done = 1");
  await sync(tablet, phone);
  await until(() => parked.last().writes.length === 1, 'the parked mutation');
  return { user, phone, tablet, parked };
}

const title = async (client: RejoinClient): Promise<string | undefined> => (await client.queryOne<{ title: string }>('SELECT title FROM task'))?.title;
const onServer = async (user: string): Promise<unknown[]> => (await server.rows(`SELECT title FROM task WHERE user_id = '${user}'`)).flat();

test('conflict has both values of each column', async () => {
  const { user, phone, tablet, parked } = await conflict();
  const [write] = parked.last().writes;
  expect(write).toMatchObject({ isConflict: true, moreRows: 0, dependents: [], mutation: { id: write?.id, state: 'parked' } });
  expect(write?.rows).toEqual([
    {
      table: 'task',
      key: `${user}-1`,
      keyColumn: 'id',
      operation: 'update',
      exists: true,
      columns: expect.arrayContaining([
        { name: 'title', mine: 'mine', theirs: 'theirs', differs: true, isConflict: true },
        { name: 'note', mine: 'my note', theirs: null, differs: true, isConflict: false },
        { name: 'done', mine: true, theirs: false, differs: true, isConflict: false },
      ]),
    },
  ]);
  // A later change of the row is what a decision compares with.
  await tablet.execute("UPDATE task SET title = 'theirs, later'");
  await sync(tablet, phone);
  const theirs = (): unknown => parked.last().writes[0]?.rows[0]?.columns.find(({ name }) => name === 'title')?.theirs;
  await until(() => theirs() === 'theirs, later', 'the later value');
  // A value of the queue covers the row; the server's value then comes from the detail.
  await phone.execute("UPDATE task SET title = 'typed on top'");
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(theirs()).not.toBe('typed on top');
});

test('keepMine sends it again', async () => {
  const { user, phone, parked } = await conflict();
  await parked.last().keepMine(parked.last().writes[0]?.id ?? '');
  expect(await title(phone)).toBe('mine');
  await until(() => parked.last().writes.length === 0, 'the decision');
  await sync(phone);
  expect(await onServer(user)).toEqual(['mine']);
});

test('takeTheirs removes it', async () => {
  const { phone, parked } = await conflict();
  const { takeTheirs, writes } = parked.last();
  await takeTheirs(writes[0]?.id ?? '');
  await until(() => parked.last().writes.length === 0, 'the decision');
  expect(await title(phone)).toBe('theirs');
  expect(await phone.queue.all()).toEqual([]);
  await expect(takeTheirs(writes[0]?.id ?? '')).rejects.toThrow();
});

test('edit sends other values', async () => {
  const { user, phone, parked } = await conflict();
  const { edit, writes } = parked.last();
  const [write] = writes;
  if (write?.rows[0] === undefined) throw new Error('no row');
  await edit(write.id, [updateRow(write.rows[0], { title: 'both', done: true })]);
  await until(() => parked.last().writes.length === 0, 'the decision');
  await sync(phone);
  expect(await onServer(user)).toEqual(['both']);
  expect(await phone.query('SELECT note, done FROM task')).toEqual([{ note: 'my note', done: true }]);
  expect(() => updateRow(write.rows[0]!, {})).toThrow('no value is given');
});

test('dependents of a rejected create are decided with it', async () => {
  const user = newUser();
  const phone = await device(server, user);
  const { last } = mount(phone, () => useParkedWrites());
  await phone.execute(CREATE, [`${user}-1`, user, 'refused']);
  await phone.execute("UPDATE task SET done = ?, note = 'more'", [true]);
  await sync(phone);
  await until(() => last().writes.length === 1, 'one write to decide');
  const [write] = last().writes;
  expect(write).toMatchObject({ isConflict: false, dependents: [{ reason: 'depends' }], rows: [{ operation: 'insert', exists: false }] });
  expect(write?.message).toMatch(/./);
  const columns = write?.rows[0]?.columns ?? [];
  expect(columns).toContainEqual({ name: 'title', mine: 'refused', theirs: undefined, differs: true, isConflict: false });
  expect(columns.map(({ name }) => name)).not.toContain('id');
  expect(columns.filter(({ mine }) => mine === null)).toEqual([]);
  // A write of another row leaves the object as it is.
  await phone.execute(CREATE, [`${user}-2`, user, 'other']);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(last().writes[0]).toBe(write);
  await last().edit(write?.id ?? '', (tx) => tx.execute("UPDATE task SET title = 'allowed' WHERE id = ?", [`${user}-1`]));
  await until(() => last().writes.length === 0, 'the decision');
  await sync(phone);
  expect(await phone.query('SELECT title, done, note FROM task ORDER BY id LIMIT 1')).toEqual([{ title: 'allowed', done: true, note: 'more' }]);
});
