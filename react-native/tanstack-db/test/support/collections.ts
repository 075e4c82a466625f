/** Test helpers: rows as `rejoin generate` types them, collections that are cleaned up, and a client with some calls replaced. */
import type { RejoinClient } from '@rejoin/react-native';
import { type Collection, createCollection } from '@tanstack/db';
import { afterEach } from 'vitest';
import { type CollectionDatabase, rejoinCollectionOptions, type RejoinCollectionConfig, type RejoinCollectionUtils } from '../../src/index';

/** A row of the server's table `task`. */
export interface TaskRow {
  id: string;
  user_id?: string | null;
  title: string;
  done?: boolean;
  rank?: number | bigint;
  note?: string | null;
}

export type Rows<T extends object> = Collection<T, string | number, RejoinCollectionUtils>;

const open: { cleanup(): Promise<void> }[] = [];

// Before the clients are shut down: hooks run in the reverse order.
afterEach(async () => {
  for (const collection of open.splice(0)) await collection.cleanup();
});

/** A started collection, cleaned up after the test. */
export function collect<T extends object>(config: RejoinCollectionConfig<T>): Rows<T> {
  const collection = createCollection(rejoinCollectionOptions<T>({ startSync: true, ...config })) as unknown as Rows<T>;
  open.push(collection);
  return collection;
}

/** The table `task` as a collection with its first result. */
export async function tasksOf(client: CollectionDatabase, more: Partial<RejoinCollectionConfig<TaskRow>> = {}): Promise<Rows<TaskRow>> {
  const collection = collect<TaskRow>({ client, table: 'task', key: 'id', ...more });
  await collection.preload();
  return collection;
}

/** The client with some calls replaced. */
export function replacing(client: RejoinClient, members: object): RejoinClient {
  return new Proxy(client, {
    get(target, name) {
      if (name in members) return members[name as keyof typeof members];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** The values of a row without what TanStack DB adds. */
export function plain(row: object | undefined): object | undefined {
  return row && Object.fromEntries(Object.entries(row).filter(([name]) => !name.startsWith('$')));
}
