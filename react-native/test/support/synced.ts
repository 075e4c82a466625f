/** A synced table with a bundled schema, for devices without a server. */
import type { RejoinClient, RejoinConfig, Services } from '../../src/index';
import { opened } from './world';

const column = (name: string, type: string, logical: string): object => ({ name, db_type: type, logical_type: logical });

/** The manifest of a table `stock` (`id`, `n`, `note`, `data`). */
export const STOCK = JSON.stringify({
  schema_version: 1,
  schema_hash: '',
  tables: [
    {
      table_name: 'stock',
      push_policy: 'owner_only',
      updated_at_column: '',
      deleted_at_column: '',
      primary_key: ['id'],
      columns: [
        { ...column('id', 'text', 'string'), is_primary_key: true },
        column('n', 'integer', 'int64'),
        column('note', 'text', 'string'),
        column('data', 'blob', 'bytes'),
      ],
    },
  ],
});

/** A device with five nails in its stock. */
export async function withStock(services: Services = {}, config: Partial<RejoinConfig> = {}): Promise<RejoinClient> {
  const client = await opened({ schema: STOCK, ...config }, services);
  if ((await client.query('SELECT id FROM stock')).length === 0) await client.execute("INSERT INTO stock (id, n) VALUES ('nails', 5)");
  return client;
}

/** The number of nails. */
export async function nails(client: RejoinClient): Promise<number | bigint | undefined> {
  return (await client.queryOne<{ n: number | bigint }>("SELECT n FROM stock WHERE id = 'nails'"))?.n;
}
