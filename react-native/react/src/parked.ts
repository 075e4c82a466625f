/** Parked mutations as a hook, with the user's decisions. `parked-reading.ts` reads them. */
import type { AbortOptions, RejoinError, Statement, Transaction } from '@rejoin/react-native';
import { useMemo } from 'react';
import { keepItems } from './identity';
import { readParked } from './parked-reading';
import type { ParkedWrite } from './parked-types';
import { type SyncedDatabase, useRejoin, useStore, useValue } from './provider';
import { reading } from './reading';

/** The decisions on a parked mutation. Each works offline; one that throws has changed nothing. */
export interface ParkedDecisions {
  /** Sends it again, with its dependents. After a conflict its columns replace the current values. Throws as `queue.retryChain`. */
  readonly keepMine: (id: string) => Promise<void>;
  /** Removes it, with its dependents. The rows keep the current values. Throws as `queue.discardChain`. */
  readonly takeTheirs: (id: string) => Promise<void>;
  /**
   * Replaces it by its writes with these statements, or this body, on top, and sends that with its dependents. Correct an action with
   * `queue.performAgain` instead.
   *
   * @throws what `queue.edit` throws. If sending the dependents fails, the edit is done and they stay parked.
   */
  readonly edit: (
    id: string,
    change: readonly Statement[] | ((tx: Transaction) => Promise<unknown> | unknown),
    options?: AbortOptions,
  ) => Promise<void>;
}

/** The parked mutations and their decisions. */
export interface ParkedWrites extends ParkedDecisions {
  /** The mutations to decide, in the order of the queue. One that was parked because of another is in its `dependents`. */
  readonly writes: readonly ParkedWrite[];
  /** Whether they were not read yet. */
  readonly isLoading: boolean;
  /** Why they could not be read; the last list stays. */
  readonly error: RejoinError | undefined;
}

/**
 * The mutations that the server did not accept, until the user decides about them.
 *
 * ```tsx
 * const { writes, keepMine, takeTheirs } = useParkedWrites();
 * return writes.map((write) => (
 *   <Conflict key={write.id} columns={write.rows[0]?.columns} onMine={() => keepMine(write.id)} onTheirs={() => takeTheirs(write.id)} />
 * ));
 * ```
 *
 * The list follows the queue and later changes of the rows, so the user sees what a decision compares with. A write that did not change is
 * the same object as before. Works offline.
 */
export function useParkedWrites(): ParkedWrites {
  const client = useRejoin<SyncedDatabase>();
  const store = useStore('parked', () =>
    reading<readonly ParkedWrite[]>(client, [], {
      read: () => readParked(client),
      concerns: ({ queue, tables }, writes) =>
        queue || writes.some(({ rows }) => rows.some(({ table }) => tables.some(({ name }) => name === table))),
      keep: keepItems,
    }),
  );
  const { value: writes, isLoading, error } = useValue(store);
  const decisions = useMemo(() => decide(client), [client]);
  return useMemo(() => ({ writes, isLoading, error, ...decisions }), [writes, isLoading, error, decisions]);
}

function decide({ queue }: SyncedDatabase): ParkedDecisions {
  return {
    keepMine: async (id) => void (await queue.retryChain(id)),
    takeTheirs: async (id) => void (await queue.discardChain(id)),
    edit: async (id, change, options) => {
      const edited = await queue.edit(id, change, options);
      if (edited !== undefined) await queue.retryChain(edited);
    },
  };
}
