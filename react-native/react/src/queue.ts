/** The queue as hooks: pending mutations and the state of a row. Parked mutations with both values are in `parked.ts`. */
import type { PendingMutation, RejoinError, RowSyncState, SqlParam } from '@rejoin/react-native';
import { useMemo } from 'react';
import { encode, keepItems } from './identity';
import { useStore, useValue } from './provider';
import { reading } from './reading';

/** The mutations that the server has not accepted. */
export interface PendingWrites {
  /** Those that wait for the server, oldest first. */
  readonly pending: readonly PendingMutation[];
  /** Those that wait for a decision, oldest first; `useParkedWrites` has their values and the decisions. */
  readonly parked: readonly PendingMutation[];
  /** Whether the queue was not read yet. */
  readonly isLoading: boolean;
  /** Why the queue could not be read; the last lists stay, and the next change of the queue reads it again. */
  readonly error: RejoinError | undefined;
}

/**
 * The queue now, and after each change. A mutation that did not change is the same object as before.
 *
 * ```tsx
 * const { pending } = usePendingWrites();
 * return pending.length === 0 ? null : <Text>{pending.length} not sent yet</Text>;
 * ```
 *
 * All hooks share one read of the queue per change. With a long queue, count in SQL or use `useRowState` instead.
 *
 * @param action only the mutations of this action.
 */
export function usePendingWrites(action?: string): PendingWrites {
  const store = useStore('queue', (client) =>
    reading<readonly PendingMutation[]>(client, [], {
      read: () => client.queue.all(),
      concerns: ({ queue }) => queue,
      keep: keepItems,
    }),
  );
  const { value, isLoading, error } = useValue(store);
  return useMemo(() => {
    const writes = action === undefined ? value : value.filter((write) => write.action === action);
    const isParked = ({ state }: PendingMutation): boolean => state === 'parked';
    return { pending: writes.filter((write) => !isParked(write)), parked: writes.filter(isParked), isLoading, error };
  }, [value, isLoading, error, action]);
}

/**
 * The sync state of a row: `'synced'`, `'pending'`, `'sent'`, `'uncertain'` or `'parked'`.
 *
 * Undefined before the first read, and while the table is not synced. For the rows of a list, select `rejoin_row_state('task', id)` in the
 * list's query instead: one query for all rows.
 */
export function useRowState(table: string, key: SqlParam): RowSyncState | undefined {
  const store = useStore(`state ${encode([table, key])}`, (client) =>
    reading<RowSyncState | undefined>(client, undefined, {
      read: () => client.queue.rowState(table, key),
      concerns: ({ queue }) => queue,
      keep: (_, after) => after,
    }),
  );
  return useValue(store).value;
}
