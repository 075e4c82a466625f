/** Transactions of Kysely on the real engine and the real server: one mutation, all or nothing. */
import { ConstraintError, InvalidInputError, TransactionTimeoutError } from '@rejoin/react-native';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { device, newUser, sync } from '../../test/support/devices';
import { StoryServer } from '../../test/support/server';
import { within } from '../../test/support/world';
import { kysely, place, withPlaces } from './support/db';

const ids = async ({ db }: Awaited<ReturnType<typeof withPlaces>>): Promise<string[]> =>
  (await db.selectFrom('places').select('id').orderBy('id').execute()).map(({ id }) => id);

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

test('transaction is one mutation and syncs', async () => {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  const title = await kysely(phone).transaction().execute(async (trx) => {
    const row = (n: number, done: boolean) => ({ id: `${user}-${n}`, user_id: user, title: 'a', done });
    await trx.insertInto('task').values([row(1, true), row(2, false)]).execute();
    await trx.updateTable('task').set({ title: 'c' }).where('id', '=', `${user}-2`).execute();
    return trx.selectFrom('task').select('title').orderBy('id', 'desc').executeTakeFirst();
  });
  expect(title).toEqual({ title: 'c' });
  expect(await phone.queue.all()).toHaveLength(1);
  await sync(phone, tablet);
  expect(await kysely(tablet).selectFrom('task').select(['title', 'done']).orderBy('id').execute()).toEqual([
    { title: 'a', done: true },
    { title: 'c', done: false },
  ]);
});

test('transaction is rolled back by an error of its body', async () => {
  const world = await withPlaces();
  const failed = world.db.transaction().execute(async (trx) => {
    await trx.insertInto('places').values(place('p1')).execute();
    await trx.insertInto('places').values(place('p1')).execute();
  });
  await expect(failed).rejects.toBeInstanceOf(ConstraintError);
  const mine = new Error('mine');
  const thrown = world.db.transaction().execute(async (trx) => {
    await trx.insertInto('places').values(place('p1')).execute();
    throw mine;
  });
  await expect(thrown).rejects.toBe(mine);
  expect(await ids(world)).toEqual([]);
  expect(await world.client.queue.all()).toEqual([]);
});

test('reads outside of an open transaction do not wait for it', async () => {
  const world = await withPlaces();
  const seen = world.db.transaction().execute(async (trx) => {
    await trx.insertInto('places').values(place('p1')).execute();
    return [await ids(world), await ids({ ...world, db: trx })];
  });
  expect(await within(seen, 'the transaction')).toEqual([[], ['p1']]);
});

test.each([true, false])('transaction that is idle for too long is a typed error (with a later statement: %s)', async (isLater) => {
  const { client, db } = await withPlaces({ transactionIdleMs: 100 });
  const idle = db.transaction().execute(async (trx) => {
    await trx.insertInto('places').values(place('p1')).execute();
    // This write waits for the transaction, so it completes only after the engine has ended it.
    await client.execute('CREATE TABLE later (n)');
    if (isLater) await trx.insertInto('places').values(place('p2')).execute();
  });
  await expect(within(idle, 'the transaction')).rejects.toBeInstanceOf(TransactionTimeoutError);
  expect(await ids({ client, db })).toEqual([]);
});

test('transaction of a closed client is a typed error', async () => {
  const { client, db } = await withPlaces();
  await client.shutdown();
  await expect(within(db.transaction().execute(async () => undefined), 'the transaction')).rejects.toMatchObject({ code: 'Closed' });
});

test('controlled transaction keeps and undoes savepoints', async () => {
  const world = await withPlaces();
  const insert = (on: typeof world.db, id: string): Promise<unknown> => on.insertInto('places').values(place(id)).execute();
  const trx = await world.db.startTransaction().execute();
  await insert(trx, 'a');
  const one = await trx.savepoint('one').execute();
  await insert(one, 'b');
  const two = await one.savepoint('two').execute();
  await insert(two, 'c');
  const back = await two.rollbackToSavepoint('one').execute();
  await insert(back, 'd');
  // The savepoint is open after a rollback to it.
  const again = await back.rollbackToSavepoint('one').execute();
  await insert(again, 'e');
  const released = await again.releaseSavepoint('one').execute();
  const open = await released.savepoint('open').execute();
  await insert(open, 'f');
  await open.commit().execute();
  expect(await ids(world)).toEqual(['a', 'e', 'f']);
  expect(await world.client.queue.all()).toHaveLength(1);
});

test('controlled transaction is rolled back with its savepoints', async () => {
  const world = await withPlaces();
  const trx = await world.db.startTransaction().execute();
  const one = await trx.savepoint('one').execute();
  await one.insertInto('places').values(place('a')).execute();
  await expect(one.releaseSavepoint('two' as 'one').execute()).rejects.toBeInstanceOf(InvalidInputError);
  await one.rollback().execute();
  expect(await ids(world)).toEqual([]);
  await world.db.insertInto('places').values(place('b')).execute();
  expect(await ids(world)).toEqual(['b']);
});
