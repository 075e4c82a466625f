/** The code that `rejoin generate` writes for `cli/tests/schema.json`, on the real engine: rows, statements and actions. */
import { readFileSync } from 'node:fs';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { Actions, ConstraintError, InvalidInputError, type RejoinClient, type RejoinConfig, type Services } from '../src/index';
import { places, type PlacesRow, resetAll, subscribeEverything, subscribeHarbour2, takePart } from './generated/rejoin-schema';
import { opened } from './support/world';

const file = (name: string): string => readFileSync(new URL(`../../cli/tests/${name}`, import.meta.url), 'utf8');
const schema = file('schema.json');

const withPlaces = (config: Partial<RejoinConfig> = {}, services: Services = {}): Promise<RejoinClient> => opened({ schema, ...config }, services);

/** All places, by id. */
async function rows(client: RejoinClient): Promise<PlacesRow[]> {
  return (await client.query('SELECT * FROM places ORDER BY id')).map(places.fromRow);
}

/** A row with a value in each column that the app writes. */
const FULL = {
  id: 'p1',
  name: "Quay 'é😀'",
  class: 'harbour',
  'first name': 'Ann',
  '2nd': 2,
  in: true,
  open: false,
  height: 12,
  price: '12.50',
  visits: 2n ** 63n - 1n,
  photo: new Uint8Array([0, 255]),
  seen_at: '2026-01-31T12:00:00.000000Z',
  day: '2026-01-31',
  at: '12:00:00',
  tags: '["a","b"]',
  extra: '{"a":1}',
  'cost $': '$5',
} satisfies PlacesRow;

/** A row with the required columns only. */
const SPARSE = { id: 'p2', name: '', in: false, height: -0.5, visits: 0 } satisfies PlacesRow;

const SERVER_COLUMNS = { owner_id: null, updated_at: null, deleted_at: null };
const NULLS = Object.fromEntries(Object.keys(FULL).filter((name) => !(name in SPARSE)).map((name) => [name, null]));

describe('generated row', () => {
  test('is inserted, read, updated and deleted unchanged', async () => {
    const client = await withPlaces();
    expect(await client.execute(places.insert(FULL))).toBe(1);
    expect(await client.execute(places.insert(SPARSE))).toBe(1);
    const [full, sparse] = await rows(client);
    expect(full).toStrictEqual({ ...FULL, ...SERVER_COLUMNS });
    expect(sparse).toStrictEqual({ ...NULLS, ...SPARSE, ...SERVER_COLUMNS });
    expectTypeOf(full).toEqualTypeOf<PlacesRow | undefined>();

    const changed: PlacesRow = { ...FULL, ...SERVER_COLUMNS, in: false, open: null, photo: null, height: 1e300, visits: 1 };
    expect(await client.execute(places.update(changed))).toBe(1);
    expect(await rows(client)).toStrictEqual([changed, sparse]);

    expect(await client.execute(places.delete(FULL.id))).toBe(1);
    expect(await rows(client)).toStrictEqual([sparse]);
  });

  test('of a plain query has booleans where the schema says so', async () => {
    const client = await withPlaces();
    await client.execute(places.insert(FULL));
    const sql = 'SELECT "in", open, "in" + 0 AS sum FROM places';
    const expected = { in: true, open: false, sum: 1 };
    expect(await client.queryOne(sql)).toStrictEqual(expected);
    expect((await client.transaction((tx) => tx.query(sql))).at(0)).toStrictEqual(expected);
    await client.execute('CREATE TABLE own (is_new BOOLEAN, n INTEGER)');
    expect(await client.executeReturning('INSERT INTO own VALUES (?, 1), (7, 0) RETURNING *', [true])).toHaveLength(2);
    expect(await client.query('SELECT * FROM own')).toStrictEqual([{ is_new: true, n: 1 }, { is_new: 7, n: 0 }]);
  });

  test('keeps its storage classes', async () => {
    const client = await withPlaces();
    const types = (): Promise<unknown> => client.queryOne('SELECT typeof("in") AS "in", typeof(open) AS open, typeof(height) AS height, typeof(visits) AS visits FROM places');
    await client.execute(places.insert({ ...FULL, open: null }));
    expect(await types()).toEqual({ in: 'integer', open: 'null', height: 'real', visits: 'integer' });
    await client.execute(places.update({ ...FULL, height: 3 }));
    expect(await types()).toEqual({ in: 'integer', open: 'integer', height: 'real', visits: 'integer' });
    const { params } = places.insert(FULL);
    expect(await client.queryOne(`SELECT typeof(?${Object.keys(FULL).indexOf('height') + 1}) AS bound`, params?.slice(0, 8))).toEqual({ bound: 'real' });
  });

  test.each([
    ['auto', 2, 7],
    ['number', 2, 7],
    ['bigint', 2, 7n],
  ] as const)('has its declared types in the integer mode %s', async (integers, second, visits) => {
    const client = await withPlaces({ integers });
    for (const open of [true, false, null]) {
      const row: PlacesRow = { ...FULL, id: String(open), in: open !== true, open, visits: 7, '2nd': open === null ? null : 2 };
      await client.execute(places.insert(row));
      const found = (await rows(client)).find(({ id }) => id === row.id);
      expect(found).toStrictEqual({ ...row, ...SERVER_COLUMNS, visits, '2nd': open === null ? null : second });
      expect(await client.execute(places.update(found as PlacesRow))).toBe(1);
    }
  });
});

describe('generated action', () => {
  const actions = (): Actions => new Actions().declare(file('take_part.json')).declare(file('reset_all.json'));

  test('is performed with typed arguments', async () => {
    const client = await withPlaces({}, { actions: actions() });
    await client.batch([places.insert({ ...FULL, visits: 1 }), places.insert({ ...SPARSE, visits: 5n })]);
    const { id, value } = await takePart(client, { part: FULL.id, quantity: 2 });
    expect([typeof id, value]).toEqual(['string', { visits: 3 }]);
    const optional = { class: false, photo: new Uint8Array([1]), extra: { a: [1n, null] } };
    expect((await takePart(client, { part: FULL.id, quantity: 2n ** 62n, ...optional })).value).toEqual({ visits: 2n ** 62n + 3n });
    expect((await takePart(client, { part: FULL.id, quantity: -1, class: null, photo: null, extra: null })).value).toEqual({ visits: 2n ** 62n + 2n });
    expect((await resetAll(client)).value).toBeNull();
    expect((await rows(client)).map(({ visits }) => visits)).toEqual([0, 0]);
  });
});

test('function of a stream subscribes to it', async () => {
  const client = await withPlaces();
  const harbour = await subscribeHarbour2(client, { class: '$fishing', ttl: -(2n ** 63n) }, { ttlMs: 60_000, priority: 1 });
  const everything = await subscribeEverything(client);
  const status = { kind: 'waiting' };
  expect(client.sync.subscriptions()).toEqual([
    { stream: 'harbour-2', parameters: { class: '$fishing', ttl: '-9223372036854775808' }, priority: 1, ttlMs: 60_000, status },
    { stream: 'everything', parameters: {}, priority: 3, ttlMs: 86_400_000, status },
  ]);
  for (const held of [harbour, everything]) held.release();
});

describe('execute with a Statement', () => {
  test('runs in a transaction and in an action handler', async () => {
    const actions = new Actions().handler({ name: 'add' }, (context) => context.execute(places.insert(SPARSE)));
    const client = await withPlaces({}, { actions });
    expect(await client.transaction((tx) => tx.execute(places.insert(FULL)))).toBe(1);
    expect((await client.perform('add')).value).toBe(1);
    expect((await rows(client)).map(({ id }) => id)).toEqual(['p1', 'p2']);
    expect(await client.execute({ sql: 'DELETE FROM places' }), 'parameters are optional').toBe(2);
  });

  test('throws the same errors as with SQL and parameters', async () => {
    const client = await withPlaces();
    await client.execute(places.insert(FULL));
    await expect(client.execute(places.insert(FULL))).rejects.toThrow(ConstraintError);
    const wrong: [unknown, RegExp][] = [
      [{}, /^a statement is a string, not a undefined/],
      [{ sql: 1 }, /^a statement is a string, not a number/],
      [null, /^a statement is a string/],
      [undefined, /^a statement is a string/],
      [{ sql: 'SELEC' }, /SELEC/],
      [{ sql: 'DELETE FROM places WHERE id = ?', params: [undefined] }, /parameter 1 is undefined/],
      [{ sql: 'DELETE FROM places WHERE id = ?' }, /./],
    ];
    for (const [statement, message] of wrong) {
      const inTransaction = (): Promise<number> => client.transaction((tx) => tx.execute(statement as never));
      for (const run of [() => client.execute(statement as never), inTransaction]) {
        const refused = run();
        await expect(refused).rejects.toThrow(InvalidInputError);
        await expect(refused).rejects.toThrow(message);
      }
    }
    const twice = client.execute as (statement: unknown, params: unknown) => Promise<number>;
    await expect(twice.call(client, places.delete(FULL.id), [1])).rejects.toThrow(/^a Statement contains its parameters/);
    expect(await rows(client)).toHaveLength(1);
  });
});
