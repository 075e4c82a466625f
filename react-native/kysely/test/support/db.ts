/** Test helpers: Kysely on a device with the generated tables, and on a device of the real server. */
import { readFileSync } from 'node:fs';
import type { RejoinClient, RejoinConfig } from '@rejoin/react-native';
import { Kysely } from 'kysely';
import type { PlacesRow } from '../../../test/generated/rejoin-schema';
import { opened } from '../../../test/support/world';
import { RejoinDialect, type TablesOf } from '../../src/index';

/** A row of the server's table `task`, as `rejoin generate` writes it. */
export interface TaskRow {
  id: string;
  user_id?: string | null;
  title: string;
  done?: boolean | null;
  rank?: number | bigint | null;
  note?: string | null;
}

export type Tables = TablesOf<{ places: PlacesRow; task: TaskRow }>;

const schema = readFileSync(new URL('../../../../cli/tests/schema.json', import.meta.url), 'utf8');

export const kysely = (client: RejoinClient): Kysely<Tables> => new Kysely<Tables>({ dialect: new RejoinDialect(client) });

/** A device with the table `places`, without a server. */
export async function withPlaces(config: Partial<RejoinConfig> = {}): Promise<{ client: RejoinClient; db: Kysely<Tables> }> {
  const client = await opened({ schema, ...config });
  return { client, db: kysely(client) };
}

/** The smallest row of `places`. */
export const place = (id: string, values: Partial<PlacesRow> = {}): PlacesRow => ({ id, name: id, in: false, height: 1, visits: 0, ...values });
