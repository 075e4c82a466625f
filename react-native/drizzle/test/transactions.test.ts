/** Transactions and batches of Drizzle on the real engine and the real server: one mutation, all or nothing. */
import { ConstraintError } from '@rejoin/react-native';
import { asc, eq, sql, TransactionRollbackError } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { device, newUser, sync } from '../../test/support/devices';
import { StoryServer } from '../../test/support/server';
import { within } from '../../test/support/world';
import { drizzle, type DrizzleDatabase } from '../src/index';
import { place, places, task, withPlaces } from './support/db';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

const ids = async (db: Pick<DrizzleDatabase, 'select'>): Promise<string[]> =>
  (await db.select().from(places).orderBy(asc(places.id))).map(({ id }) => id);

test('transaction is one mutation and syncs', async () => {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  const title = await drizzle(phone).transaction(async (tx) => {
    await tx.insert(task).values([{ id: `${user}-1`, userId: user, title: 'a', done: true }, { id: `${user}-2`, userId: user, title: 'b' }]);
    await tx.update(task).set({ title: 'c' }).where(eq(task.id, `${user}-2`));
    return (await tx.select().from(task).orderBy(asc(task.id))).at(-1)?.title;
  });
  expect(title).toBe('c');
  expect(await phone.queue.all()).toHaveLength(1);
  await sync(phone, tablet);
  expect(await drizzle(tablet).select({ title: task.title, done: task.done }).from(task).orderBy(asc(task.id))).toEqual([
    { title: 'a', done: true },
    { title: 'c', done: false },
  ]);
});

test('transaction is rolled back by an error of its body', async () => {
  const { client, db } = await withPlaces();
  const failed = db.transaction(async (tx) => {
    await tx.insert(places).values(place('p1'));
    await tx.insert(places).values(place('p1'));
  });
  await expect(failed).rejects.toBeInstanceOf(ConstraintError);
  const given = db.transaction(async (tx) => {
    await tx.insert(places).values(place('p1'));
    tx.rollback();
  });
  await expect(given).rejects.toBeInstanceOf(TransactionRollbackError);
  expect(await ids(db)).toEqual([]);
  expect(await client.queue.all()).toEqual([]);
});

test('transaction does not hold up reads of the database', async () => {
  const { db } = await withPlaces();
  const seen = db.transaction(async (tx) => {
    await tx.insert(places).values(place('p1'));
    return [await ids(db), await ids(tx)];
  });
  expect(await within(seen, 'the transaction')).toEqual([[], ['p1']]);
});

test('nested transaction is a savepoint', async () => {
  const { client, db } = await withPlaces();
  await db.transaction(async (tx) => {
    await tx.insert(places).values(place('a'));
    await tx.transaction(async (inner) => {
      await inner.insert(places).values(place('b'));
      await inner.transaction(async (innermost) => {
        await innermost.insert(places).values(place('c'));
        innermost.rollback();
      }).catch(() => undefined);
    });
    await tx.transaction(async (inner) => {
      await inner.insert(places).values(place('d'));
      throw new Error('undone');
    }).catch(() => undefined);
  });
  expect(await ids(db)).toEqual(['a', 'b']);
  expect(await client.queue.all()).toHaveLength(1);
});

test('batch is one mutation with typed results', async () => {
  const { client, db } = await withPlaces();
  const [inserted, rows, one, raw, changed] = await db.batch([
    db.insert(places).values(place('a', { in: true })).returning({ id: places.id }),
    db.select({ id: places.id, in: places.in }).from(places),
    db.select({ id: places.id }).from(places),
    db.all(sql`select id, "in" from places`),
    db.update(places).set({ in: false }),
  ]);
  expect([inserted, rows, one, raw]).toEqual([[{ id: 'a' }], [{ id: 'a', in: true }], [{ id: 'a' }], [{ id: 'a', in: true }]]);
  expect(changed.changes).toBe(1);
  expect(await client.queue.all()).toHaveLength(1);
  const insert = () => db.insert(places).values(place('b'));
  await expect(db.batch([db.delete(places), insert(), insert()])).rejects.toBeInstanceOf(ConstraintError);
  expect(await ids(db)).toEqual(['a']);
});
