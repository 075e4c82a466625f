/** Queries of Kysely with the generated types on the real engine. */
import { ConstraintError, InvalidInputError } from '@rejoin/react-native';
import { CompiledQuery, Kysely, sql } from 'kysely';
import { describe, expect, expectTypeOf, test } from 'vitest';
import type { PlacesRow } from '../../test/generated/rejoin-schema';
import { FakeDatabase } from '../../test/support/fake';
import { RejoinDialect, type TablesOf } from '../src/index';
import { place, withPlaces } from './support/db';

const FULL = place('p1', { class: 'harbour', '2nd': 2, in: true, open: false, height: 12, visits: 2n ** 63n - 1n, photo: new Uint8Array([0, 255]) });

describe('query', () => {
  test.each([{}, { integers: 'bigint' }] as const)('has the values and types of the generated row with %j', async (config) => {
    const { db } = await withPlaces(config);
    await db.insertInto('places').values([FULL, place('p2')]).execute();
    const rows = await db.selectFrom('places').select(['id', 'class', '2nd', 'in', 'open', 'height', 'visits', 'photo']).orderBy('id').execute();
    const { name: _, ...expected } = FULL;
    expect(rows[0]).toStrictEqual(expected);
    expect(rows[1]).toStrictEqual({ id: 'p2', class: null, '2nd': null, in: false, open: null, height: 1, visits: 0, photo: null });
    type Row = (typeof rows)[number];
    expectTypeOf<Row['in']>().toEqualTypeOf<boolean>();
    expectTypeOf<Row['open']>().toEqualTypeOf<boolean | null>();
    expectTypeOf<Row['class']>().toEqualTypeOf<string | null>();
    expectTypeOf<Row['visits']>().toEqualTypeOf<number | bigint>();
    expectTypeOf<Row['photo']>().toEqualTypeOf<Uint8Array | null>();
  });

  test('binds booleans as parameters', async () => {
    const { db } = await withPlaces();
    await db.insertInto('places').values([FULL, place('p2', { open: true })]).execute();
    const ids = async (open: boolean): Promise<string[]> =>
      (await db.selectFrom('places').select('id').where('open', '=', open).execute()).map(({ id }) => id);
    expect([await ids(true), await ids(false)]).toEqual([['p2'], ['p1']]);
  });

  test('returns the rows of RETURNING with their types', async () => {
    const { db } = await withPlaces();
    expect(await db.insertInto('places').values(FULL).returning(['id', 'in']).execute()).toEqual([{ id: 'p1', in: true }]);
    expect(await db.updateTable('places').set({ in: false }).returning('in').executeTakeFirst()).toEqual({ in: false });
    expect(await db.deleteFrom('places').returningAll().execute()).toHaveLength(1);
    expect(await db.selectFrom('places').selectAll().execute()).toEqual([]);
  });

  test('returns the number of changed rows', async () => {
    const { db } = await withPlaces();
    await db.insertInto('places').values([place('p1'), place('p2'), place('p3')]).execute();
    expect((await db.updateTable('places').set({ open: true }).where('id', '<>', 'p3').executeTakeFirst()).numUpdatedRows).toBe(2n);
    expect((await db.deleteFrom('places').executeTakeFirst()).numDeletedRows).toBe(3n);
  });

  test('of raw SQL is read or written by its text', async () => {
    const { db } = await withPlaces();
    const insert = await sql`-- select\ninsert into places (id, name, "in", height, visits) values ('p1', 'returning_', ${true}, 1, 0)`.execute(db);
    expect(insert.numAffectedRows).toBe(1n);
    const rows = async (text: string): Promise<unknown[]> => (await db.executeQuery(CompiledQuery.raw(text))).rows;
    expect(await rows('/* insert */ SELECT id, "in" FROM places')).toEqual([{ id: 'p1', in: true }]);
    expect(await rows("WITH one AS (SELECT replace(id, 'p', 'q') AS id FROM places) SELECT * FROM one")).toEqual([{ id: 'q1' }]);
    const update = "WITH one AS (SELECT 'p1' AS id) UPDATE places SET open = 1 WHERE id IN (SELECT id FROM one) RETURNING open";
    expect(await rows(update)).toEqual([{ open: true }]);
    expect(await rows('DELETE FROM places RETURNING id')).toEqual([{ id: 'p1' }]);
    expect(await rows('VALUES (7)')).toEqual([{ column1: 7 }]);
  });

  test('types an insert and an update as the generated row', async () => {
    const { db } = await withPlaces();
    const checked = (): unknown[] => [
      db.insertInto('places').values(place('p1') satisfies PlacesRow),
      // @ts-expect-error A required column is missing.
      db.insertInto('places').values({ id: 'p1', name: '' }),
      // @ts-expect-error A boolean is not a number.
      db.updateTable('places').set({ in: 1 }),
      // @ts-expect-error There is no such column.
      db.selectFrom('places').select('nme'),
      db.updateTable('places').set({ class: null }),
    ];
    expect(checked()).toHaveLength(5);
  });

  test('runs with a fake', async () => {
    const fake = new FakeDatabase([{ id: '1', title: 'milk' }]);
    const db = new Kysely<TablesOf<{ task: { id: string; title: string } }>>({ dialect: new RejoinDialect(fake) });
    expect(await db.selectFrom('task').selectAll().execute()).toEqual([{ id: '1', title: 'milk' }]);
    await db.transaction().execute((trx) => trx.updateTable('task').set({ title: 'bread' }).execute());
    expect(fake.written).toEqual([['update "task" set "title" = ?', ['bread']]]);
  });
});

describe('error', () => {
  test('is the typed error of the client', async () => {
    const { db } = await withPlaces();
    await db.insertInto('places').values(FULL).execute();
    const twice = await db.insertInto('places').values(FULL).execute().catch((error: unknown) => error);
    expect(twice).toBeInstanceOf(ConstraintError);
    expect(twice).toMatchObject({ table: 'places', column: 'id' });
    await expect(db.updateTable('places').set({ class: new Date() as never }).execute()).rejects.toThrow(/parameter 1 is a Date/);
  });

  test('of a missing table names the remedy', async () => {
    const { db } = await withPlaces();
    const missing = await db.selectFrom('nowhere' as 'places').selectAll().execute().catch((error: unknown) => error);
    expect(missing).toBeInstanceOf(InvalidInputError);
    expect((missing as Error).message).toMatch(/no such table: nowhere; .*first sync/);
  });

  test.each([
    ['select 1; select 2', /several statements/],
    ['begin', /transaction control/],
    ['selec', /selec/],
  ])('of raw SQL %j is an InvalidInputError', async (text, message) => {
    const { db } = await withPlaces();
    const error = await db.executeQuery(CompiledQuery.raw(text)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InvalidInputError);
    expect((error as Error).message).toMatch(message);
  });

  test('of stream names the remedy', async () => {
    const { db } = await withPlaces();
    await expect(db.selectFrom('places').selectAll().stream().next()).rejects.toThrow(/stream\(\) is not supported; use execute/);
  });

  test('of unsupported transaction settings names the remedy', async () => {
    const { db } = await withPlaces();
    const nothing = async (): Promise<void> => undefined;
    await expect(db.transaction().setAccessMode('read only').execute(nothing)).rejects.toThrow(/use client\.read/);
    await expect(db.transaction().setIsolationLevel('read committed').execute(nothing)).rejects.toThrow(/isolation level read committed/);
    await db.transaction().setIsolationLevel('serializable').execute(nothing);
  });
});
