/**
 * Collection options for a table of a client: the rows come from a watch, and each TanStack transaction is one mutation.
 *
 * The collection shows what the client shows: local writes at once, remote ones as they arrive, and the server's values after a write is
 * parked. `rows.ts` has the rows, `writes.ts` the writes. The collection neither opens the client nor shuts it down.
 */
import type { PendingMutation, QueueHandle, RejoinDatabase } from '@rejoin/react-native';
import type { BaseCollectionConfig, CollectionConfig } from '@tanstack/db';
import { RowFeed } from './rows';
import { register, rejoinMutationFn, Target } from './writes';

/** What a collection needs of a client: a `RejoinClient`, or a fake in tests. */
export interface CollectionDatabase extends RejoinDatabase {
  readonly queue: Pick<QueueHandle, 'all'>;
}

/** The columns of a row that can be the key: texts and numbers. */
export type KeyColumn<T> = { [Column in keyof T]-?: T[Column] extends string | number ? Column : never }[keyof T] & string;

type Passed = 'id' | 'gcTime' | 'startSync' | 'autoIndex' | 'defaultIndexType' | 'compare' | 'defaultStringCollation';

/** A table as a collection; the other options are those of TanStack DB. */
export interface RejoinCollectionConfig<T extends object> extends Pick<BaseCollectionConfig<T, string | number>, Passed> {
  /** An open client. */
  readonly client: CollectionDatabase;
  /** The table, synced or of the device. The collection holds all its rows. */
  readonly table: string;
  /** The primary key. */
  readonly key: KeyColumn<T>;
  /**
   * Called once for each mutation with rows of this table that is parked, after the rows show the server's values; also for those that were
   * parked before the collection started. `reason` and `detail` say why. An error that it throws is printed on the console.
   */
  readonly onParked?: ((mutation: PendingMutation) => unknown) | undefined;
}

/** The `utils` of a collection. */
export type RejoinCollectionUtils = {
  /** The parked mutations with rows of the table, oldest first. Decide with `client.queue`. */
  parked: () => Promise<PendingMutation[]>;
};

/** The options that {@link rejoinCollectionOptions} returns. */
export type RejoinCollectionOptions<T extends object> = Omit<CollectionConfig<T, string | number, never, RejoinCollectionUtils>, 'utils'> & {
  utils: RejoinCollectionUtils;
  schema?: never;
};

/**
 * Returns the options of a collection for a table.
 *
 * ```ts
 * const tasks = createCollection(rejoinCollectionOptions<TaskRow>({ client, table: 'task', key: 'id' }));
 * ```
 *
 * A write is persisted when it is on disk and in the rows of the collection, also offline; it fails with the error of the client, such as a
 * ConstraintError. An error of the watch, such as a missing table, puts the collection in its error state until a commit after which the
 * query succeeds. The cleanup of the collection ends the watch.
 */
export function rejoinCollectionOptions<T extends object>(config: RejoinCollectionConfig<T>): RejoinCollectionOptions<T> {
  const { client, table, key, onParked, ...rest } = config;
  const target = new Target(client, table, key);
  const utils: RejoinCollectionUtils = {
    parked: async () => (await client.queue.all()).filter(({ state, rows }) => state === 'parked' && rows.some((row) => target.is(row.table))),
  };
  register(utils, target);
  return {
    ...rest,
    getKey: (row) => row[key] as string | number,
    sync: {
      rowUpdateMode: 'full',
      sync: (actions) => {
        const feed = new RowFeed<T>(target, actions, onParked && { report: onParked, read: utils.parked });
        target.feeds.add(feed);
        return () => {
          target.feeds.delete(feed);
          feed.stop();
        };
      },
    },
    onInsert: rejoinMutationFn,
    onUpdate: rejoinMutationFn,
    onDelete: rejoinMutationFn,
    utils,
  };
}
