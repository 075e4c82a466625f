/** Watched queries of Kysely on synced tables. */
import { InvalidInputError, type RejoinError } from '@rejoin/react-native';
import { CamelCasePlugin, DummyDriver, Kysely, type KyselyPlugin, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely';
import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest';
import { device, newUser, sync } from '../../test/support/devices';
import { FakeDatabase } from '../../test/support/fake';
import { StoryServer } from '../../test/support/server';
import { gate, until, within } from '../../test/support/world';
import { RejoinDialect, watchQuery } from '../src/index';
import { kysely, place, withPlaces } from './support/db';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

test('watch follows local and remote commits with typed rows', async () => {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  const db = kysely(phone);
  const seen: { title: string; done: boolean | null }[][] = [];
  const subscription = watchQuery(db, db.selectFrom('task').select(['title', 'done']).where('title', '<>', 'hidden'), {
    onRows: (rows) => {
      expectTypeOf(rows).toEqualTypeOf<{ title: string; done: boolean | null }[]>();
      seen.push(rows);
    },
  });
  const last = async (rows: object[], what: string): Promise<void> => {
    await until(() => seen.length > 0, 'the first result');
    await until(() => JSON.stringify(seen.at(-1)) === JSON.stringify(rows), what);
  };
  await last([], 'no rows');
  await db.insertInto('task').values({ id: `${user}-1`, user_id: user, title: 'mine', done: true }).execute();
  await last([{ title: 'mine', done: true }], 'the local write');
  await sync(phone, tablet);
  await kysely(tablet).updateTable('task').set({ title: 'theirs', done: false }).execute();
  await sync(tablet, phone);
  await last([{ title: 'theirs', done: false }], 'the remote write');
  subscription.cancel();
  const before = seen.length;
  await db.updateTable('task').set({ title: 'unseen' }).execute();
  const again = gate<unknown[]>();
  watchQuery(db, db.selectFrom('task').select('title').compile(), { onRows: again.open });
  expect(await within(again.promise, 'a compiled query')).toEqual([{ title: 'unseen' }]);
  expect(seen).toHaveLength(before);
});

test('watch applies the plugins of its database and reads integers as numbers', async () => {
  const { client, db } = await withPlaces({ integers: 'bigint' });
  await db.insertInto('places').values(place('p1', { visits: 7, seen_at: '2026-01-31T12:00:00.000000Z' })).execute();
  const dialect = new RejoinDialect(client);
  const camel = new Kysely<{ places: { visits: number | bigint; seenAt: string | null } }>({ dialect, plugins: [new CamelCasePlugin()] });
  const first = gate<unknown[]>();
  watchQuery(camel, camel.selectFrom('places').select(['visits', 'seenAt']), { onRows: first.open });
  expect(await within(first.promise, 'the rows')).toEqual([{ visits: 7, seenAt: '2026-01-31T12:00:00.000000Z' }]);
});

test('watch cancelled during a plugin reports no rows', async () => {
  const { client, db } = await withPlaces();
  const [begun, resume] = [gate(), gate()];
  const slow: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      begun.open();
      await resume.promise;
      return result;
    },
  };
  const plugged = new Kysely<{ places: { id: string } }>({ dialect: new RejoinDialect(client), plugins: [slow] });
  let calls = 0;
  const subscription = watchQuery(plugged, plugged.selectFrom('places').select('id'), { onRows: () => (calls += 1) });
  await within(begun.promise, 'the plugin');
  subscription.cancel();
  resume.open();
  await db.selectFrom('places').select('id').execute();
  expect(calls).toBe(0);
});

test('watch of a missing table names the remedy', async () => {
  const { db } = await withPlaces();
  const failed = gate<RejoinError>();
  watchQuery(db, db.selectFrom('nowhere' as 'places').selectAll(), { onRows: () => undefined, onError: failed.open });
  const error = await within(failed.promise, 'the error');
  expect(error).toBeInstanceOf(InvalidInputError);
  expect(error.message).toMatch(/no such table: nowhere; .*first sync/);
});

test('watch ends with its signal', async () => {
  const { db } = await withPlaces();
  const ended = new AbortController();
  const subscription = watchQuery(db, db.selectFrom('places').selectAll(), { onRows: () => ended.abort(), signal: ended.signal });
  await until(() => subscription.isCancelled, 'the end');
});

test('watch runs with a fake and needs the dialect', async () => {
  const db = new Kysely<{ task: { id: string } }>({ dialect: new RejoinDialect(new FakeDatabase([{ id: '1' }])) });
  const first = gate<unknown[]>();
  watchQuery(db, db.selectFrom('task').selectAll(), { onRows: first.open });
  expect(await within(first.promise, 'the rows')).toEqual([{ id: '1' }]);
  const other = new Kysely<{ task: { id: string } }>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (dummy) => new SqliteIntrospector(dummy),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
  expect(() => watchQuery(other, other.selectFrom('task').selectAll(), { onRows: first.open })).toThrow(/RejoinDialect/);
});
