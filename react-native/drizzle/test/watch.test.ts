/** Watched queries of Drizzle on synced tables. */
import { InvalidInputError, type RejoinError } from '@rejoin/react-native';
import { asc, eq } from 'drizzle-orm';
import { drizzle as proxy } from 'drizzle-orm/sqlite-proxy';
import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest';
import { device, newUser, sync } from '../../test/support/devices';
import { FakeDatabase } from '../../test/support/fake';
import { StoryServer } from '../../test/support/server';
import { gate, until, within } from '../../test/support/world';
import { drizzle, watchQuery } from '../src/index';
import { place, places, tables, tag, task, withPlaces } from './support/db';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

/** Collects the results of a watch. */
function collect<T>(): { seen: T[]; onResult: (result: T) => void; last: (expected: unknown, what: string) => Promise<void> } {
  const seen: T[] = [];
  const last = (expected: unknown, what: string): Promise<void> =>
    until(() => seen.length > 0 && JSON.stringify(seen.at(-1)) === JSON.stringify(expected), what);
  return { seen, onResult: (result) => void seen.push(result), last };
}

test('watch follows local and remote commits with typed rows', async () => {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  const db = drizzle(phone, { schema: tables });
  const columns = { id: task.id, done: task.done, tag: tag.id };
  const joined = db.select(columns).from(task).leftJoin(tag, eq(tag.taskId, task.id)).where(eq(task.title, 'shown'));
  const rows = collect<Awaited<typeof joined>>();
  const first = collect<{ title: string; tags: { name: string }[] } | undefined>();
  const subscription = watchQuery(joined, {
    onResult: (result) => {
      expectTypeOf(result).toEqualTypeOf<{ id: string; done: boolean; tag: string | null }[]>();
      rows.onResult(result);
    },
  });
  watchQuery(db.query.task.findFirst({ columns: { title: true }, with: { tags: { columns: { name: true } } } }), first);
  await rows.last([], 'no rows');
  await until(() => first.seen.length > 0, 'no task');
  expect(first.seen).toEqual([undefined]);
  await db.insert(task).values({ id: `${user}-1`, userId: user, title: 'shown', done: true });
  await rows.last([{ id: `${user}-1`, done: true, tag: null }], 'the local write');
  await sync(phone, tablet);
  const other = drizzle(tablet);
  await other.batch([other.insert(tag).values({ id: `${user}-g`, taskId: `${user}-1`, name: 'x' }), other.update(task).set({ done: false })]);
  await sync(tablet, phone);
  await rows.last([{ id: `${user}-1`, done: false, tag: `${user}-g` }], 'the remote write');
  await first.last({ title: 'shown', tags: [{ name: 'x' }] }, 'the relation');
  subscription.cancel();
  const before = rows.seen.length;
  await db.delete(tag);
  await first.last({ title: 'shown', tags: [] }, 'the deleted tag');
  expect(rows.seen).toHaveLength(before);
});

test('watch keeps the order of its rows', async () => {
  const { db } = await withPlaces();
  await db.insert(places).values(['b', 'c', 'a'].map((id) => place(id)));
  const { onResult, last } = collect<unknown>();
  watchQuery(db.select({ id: places.id }).from(places).orderBy(asc(places.name)).limit(2), { onResult });
  await last([{ id: 'a' }, { id: 'b' }], 'the rows');
});

test('watch of a missing table names the remedy', async () => {
  const { db } = await withPlaces();
  const failed = gate<RejoinError>();
  watchQuery(db.select().from(tag), { onResult: () => undefined, onError: failed.open });
  const error = await within(failed.promise, 'the error');
  expect(error).toBeInstanceOf(InvalidInputError);
  expect(error.message).toMatch(/no such table: tag; .*first sync/);
});

test('watch ends with its signal', async () => {
  const { db } = await withPlaces();
  const ended = new AbortController();
  const subscription = watchQuery(db.select().from(places), { onResult: () => ended.abort(), signal: ended.signal });
  await until(() => subscription.isCancelled, 'the end');
});

test('watch refuses what it cannot watch', async () => {
  const { db } = await withPlaces();
  const onResult = (): void => undefined;
  expect(() => watchQuery(db.delete(places).returning(), { onResult })).toThrow(InvalidInputError);
  await db.transaction(async (tx) => expect(() => watchQuery(tx.select().from(places), { onResult })).toThrow(/outside of a transaction/));
  const other = proxy(async () => ({ rows: [] }));
  expect(() => watchQuery(other.select().from(places), { onResult })).toThrow(/drizzle\(client\)/);
});

test('watch runs with a fake', async () => {
  const { onResult, last } = collect<unknown>();
  watchQuery(drizzle(new FakeDatabase([{ c0: '1', c1: true }])).select({ id: task.id, done: task.done }).from(task), { onResult });
  await last([{ id: '1', done: true }], 'the row');
});
