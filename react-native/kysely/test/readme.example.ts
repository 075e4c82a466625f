/** The examples of the README, as an app has them; `readme.test.ts` compares and runs them. */
import type { RejoinClient, Subscription } from '@rejoin/react-native';
import { Kysely } from 'kysely';
import type { PlacesRow } from '../../test/generated/rejoin-schema';
import { RejoinDialect, type TablesOf, watchQuery } from '../src/index';

export async function examples(client: RejoinClient, show: (places: unknown[]) => void): Promise<Subscription> {
  const db = new Kysely<TablesOf<{ places: PlacesRow }>>({ dialect: new RejoinDialect(client) });

  await db.insertInto('places').values({ id: 'p1', name: 'Quay', in: true, height: 12, visits: 0 }).execute();
  const subscription = watchQuery(db, db.selectFrom('places').select(['id', 'name', 'in']).where('in', '=', true), {
    onRows: (places) => show(places), // Now, and after each local or remote commit that changes them.
    onError: (error) => console.warn(error.code, error.message),
  });
  await visit(db, 'p1');
  return subscription;
}

async function visit(db: Kysely<TablesOf<{ places: PlacesRow }>>, id: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const place = await trx.selectFrom('places').select('visits').where('id', '=', id).executeTakeFirstOrThrow();
    await trx.updateTable('places').set({ visits: Number(place.visits) + 1 }).where('id', '=', id).execute();
  });
}
