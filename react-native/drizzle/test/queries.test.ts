/** Queries of Drizzle on the real engine: values, joins, relations, batches and errors. */
import { ConstraintError, InvalidInputError } from '@rejoin/react-native';
import { asc, count, eq, sql } from 'drizzle-orm';
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest';
import { device, newUser } from '../../test/support/devices';
import { FakeDatabase } from '../../test/support/fake';
import { StoryServer } from '../../test/support/server';
import { drizzle, type DrizzleDatabase } from '../src/index';
import { place, places, tables, tag, task, withPlaces } from './support/db';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

/** A device with two tasks, of which the first has two tags. */
async function withTags(): Promise<DrizzleDatabase<typeof tables>> {
  const user = newUser();
  const db = drizzle(await device(server, user), { schema: tables });
  await db.insert(task).values([{ id: 't1', userId: user, title: 'a', done: true }, { id: 't2', userId: user, title: 'b' }]);
  await db.insert(tag).values([{ id: 'g1', taskId: 't1', name: 'x' }, { id: 'g2', taskId: 't1', name: 'y' }]);
  return db;
}

const FULL = place('p1', { class: 'harbour', second: 2, in: true, open: false, height: 12, visits: 2n ** 63n - 1n, photo: new Uint8Array([0, 255]) });

describe('query', () => {
  test.each([{}, { integers: 'bigint' }] as const)('has the values of the table with %j', async (config) => {
    const { db } = await withPlaces(config);
    expect(await db.insert(places).values([FULL, place('p2')])).toMatchObject({ changes: 2 });
    const rows = await db.select().from(places).orderBy(asc(places.id));
    expect(rows[0]).toStrictEqual({ ...FULL, first: null, seenAt: null });
    expect(rows[1]).toMatchObject({ in: false, open: null, visits: 0, photo: null });
    expectTypeOf(rows[0]!.open).toEqualTypeOf<boolean | null>();
    expect(await db.select({ id: places.id }).from(places).where(eq(places.open, false))).toEqual([{ id: 'p1' }]);
    expect(await db.$count(places, eq(places.in, true))).toBe(1);
  });

  test('maps booleans and dates of any column type', async () => {
    const { client, db } = await withPlaces();
    const bool = () => integer({ mode: 'boolean' });
    const own = sqliteTable('own', { a: bool(), b: bool(), at: integer({ mode: 'timestamp_ms' }), day: text() });
    await client.schema.createTable('own', 'a BOOLEAN, b INTEGER, at INTEGER, day TEXT');
    const row = { a: true, b: true, at: new Date(1_769_860_800_123), day: '2026-01-31' };
    await db.insert(own).values([row, { a: false, b: false }]);
    expect(await db.select().from(own)).toEqual([row, { a: false, b: false, at: null, day: null }]);
    // The engine returns different values for the two columns.
    expect(await client.queryOne('SELECT a, b FROM own')).toEqual({ a: true, b: 1 });
    expect(await db.select({ a: own.a }).from(own).where(eq(own.at, row.at))).toEqual([{ a: true }]);
  });

  test('of a join has both columns of one name', async () => {
    const db = await withTags();
    const rows = await db.select().from(task).leftJoin(tag, eq(tag.taskId, task.id)).orderBy(asc(task.id), asc(tag.id));
    expect(rows.map((row) => [row.task.id, row.tag?.id])).toEqual([['t1', 'g1'], ['t1', 'g2'], ['t2', undefined]]);
    expect(rows.at(-1)?.tag).toBeNull();
    expect(rows[0]?.task.done).toBe(true);
    const mixed = db.select({ title: task.title, one: sql<number>`1`, n: count(tag.id) }).from(task).leftJoin(tag, eq(tag.taskId, task.id));
    expect(await mixed.groupBy(task.id)).toEqual([{ title: 'a', one: 1, n: 2 }, { title: 'b', one: 1, n: 0 }]);
    const open = db.$with('open').as(db.select().from(task).where(eq(task.done, false)));
    expect(await db.with(open).select({ id: open.id, done: open.done }).from(open)).toEqual([{ id: 't2', done: false }]);
  });

  test('of relations is nested', async () => {
    const db = await withTags();
    const columns = { id: true, done: true } as const;
    expect(await db.query.task.findMany({ columns, with: { tags: { columns: { name: true } } }, orderBy: asc(task.id) })).toEqual([
      { id: 't1', done: true, tags: [{ name: 'x' }, { name: 'y' }] },
      { id: 't2', done: false, tags: [] },
    ]);
    expect(await db.query.tag.findFirst({ where: eq(tag.id, 'g2'), with: { task: true } })).toMatchObject({ task: { id: 't1', done: true } });
    expect(await db.query.tag.findFirst({ where: eq(tag.id, 'none') })).toBeUndefined();
  });

  test('returns the rows of RETURNING and of get and values', async () => {
    const { db } = await withPlaces();
    expect(await db.insert(places).values(FULL).returning({ id: places.id, in: places.in })).toEqual([{ id: 'p1', in: true }]);
    expect(await db.update(places).set({ in: false }).returning({ in: places.in }).get()).toEqual({ in: false });
    expect(await db.select({ id: places.id }).from(places).get()).toEqual({ id: 'p1' });
    expect(await db.select({ id: places.id }).from(places).where(eq(places.id, 'no')).get()).toBeUndefined();
    expect(await db.select({ id: places.id, h: places.height }).from(places).values()).toEqual([['p1', 12]]);
    const prepared = db.select({ id: places.id }).from(places).where(eq(places.id, sql.placeholder('id'))).prepare();
    expect(await prepared.all({ id: 'p1' })).toEqual([{ id: 'p1' }]);
    expect(await db.delete(places).where(eq(places.id, 'p1'))).toMatchObject({ changes: 1 });
  });

  test('of raw SQL returns plain rows', async () => {
    const { db } = await withPlaces();
    expect(await db.run(sql`insert into places (id, name, "in", height, visits) values ('p1', 'n', ${true}, 1, 0)`)).toMatchObject({ changes: 1 });
    expect(await db.all(sql`select id, "in" from places`)).toEqual([{ id: 'p1', in: true }]);
    const update = sql`with one as (select 'p1' as id) update places set open = 1 where id in (select id from one) returning open`;
    expect(await db.get(update)).toEqual({ open: true });
    expect(await db.values(sql`select id, open from places`)).toEqual([['p1', true]]);
  });

  test('logs its statements', async () => {
    const { client } = await withPlaces();
    const logged: unknown[] = [];
    const db = drizzle(client, { logger: { logQuery: (...query) => logged.push(query) } });
    await db.delete(places).where(eq(places.in, true));
    expect(logged).toEqual([['delete from "places" where "places"."in" = ?', [1]]]);
  });

  test('runs with a fake', async () => {
    const fake = new FakeDatabase([{ c0: '1', c1: 1 }]);
    const db = drizzle(fake);
    expect(await db.select({ id: task.id, done: task.done }).from(task)).toEqual([{ id: '1', done: true }]);
    await db.transaction((tx) => tx.update(task).set({ done: true }));
    expect(fake.written).toEqual([['update "task" set "done" = ?', [1]]]);
  });
});

describe('error', () => {
  test('is the typed error of the client', async () => {
    const { db } = await withPlaces();
    await db.insert(places).values(FULL);
    await expect(db.insert(places).values(FULL)).rejects.toBeInstanceOf(ConstraintError);
    await expect(db.insert(places).values(FULL).returning()).rejects.toMatchObject({ table: 'places', column: 'id' });
  });

  test('of a missing table names the remedy', async () => {
    const { db } = await withPlaces();
    for (const query of [db.select().from(tag), db.delete(tag), db.insert(tag).values({ id: '1', taskId: '1', name: '' }).returning()]) {
      const error = await Promise.resolve(query as PromiseLike<unknown>).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidInputError);
      expect((error as Error).message).toMatch(/no such table: tag; .*first sync/);
    }
  });

  test('of two columns with one name has the remedy', async () => {
    const { db } = await withPlaces();
    const twice = db.insert(places).values(FULL).returning({ a: places.id, b: places.id });
    await expect(twice).rejects.toThrow(/same name.*\.as\(name\)/);
    await expect(db.values(sql`select id, 1 from places`)).rejects.toThrow(InvalidInputError);
  });

  test('of several statements is an InvalidInputError', async () => {
    const { db } = await withPlaces();
    await expect(db.run(sql`delete from places; delete from places`)).rejects.toThrow(InvalidInputError);
    await expect(db.run(sql`begin`)).rejects.toThrow(/transaction control/);
  });
});
