/** The examples of the README, as an app has them; `readme.test.ts` compares and runs them. */
import type { RejoinClient } from '@rejoin/react-native';
import { eq } from 'drizzle-orm';
import { integer, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import type { PlacesRow } from '../../test/generated/rejoin-schema';
import { drizzle, type DrizzleDatabase, type Fits, int64, watchQuery } from '../src/index';

const places = sqliteTable('places', {
  id: text().primaryKey(),
  name: text().notNull(),
  in: integer({ mode: 'boolean' }).notNull(),
  height: real().notNull(),
  visits: int64().notNull(),
  seenAt: text('seen_at'),
});
true satisfies Fits<typeof places, PlacesRow>; // Does not compile if the table differs from the generated row.

export async function examples(client: RejoinClient, show: (rows: { id: string; in: boolean }[]) => void): Promise<void> {
  const db = drizzle(client, { schema: { places } });

  await db.insert(places).values({ id: 'p1', name: 'Quay', in: true, height: 12, visits: 0 });
  const subscription = watchQuery(db.select({ id: places.id, in: places.in }).from(places).where(eq(places.in, true)), {
    onResult: (rows) => show(rows), // Now, and after each local or remote commit that changes them.
    onError: (error) => console.warn(error.code, error.message),
  });
  await visit(db, 'p1');
  subscription.cancel();
}

async function visit(db: DrizzleDatabase<{ places: typeof places }>, id: string): Promise<void> {
  await db.transaction(async (tx) => {
    const place = await tx.query.places.findFirst({ where: eq(places.id, id) });
    if (place === undefined) tx.rollback();
    else await tx.update(places).set({ visits: Number(place.visits) + 1 }).where(eq(places.id, id));
  });
  await db.batch([db.update(places).set({ in: false }), db.delete(places).where(eq(places.id, 'gone'))]);
}
