/**
 * The watch behind the query hooks: one for all hooks with the same query, restarted after an error.
 *
 * A failed query runs again after the next commit, for example when a sync has created its table. `queries.ts` has the hooks.
 */
import type { DecodeOptions, RejoinError, Row, SqlParam, Subscription, WatchHandlers } from '@rejoin/react-native';
import { encode, keepRows } from './identity';
import { type SyncedDatabase, useStore } from './provider';
import type { Begin, Store } from './store';

/** Options of a query hook. */
export interface QueryOptions extends DecodeOptions {
  /** The columns that identify a row. With them a row that did not change is the same object in the next result. */
  readonly key?: readonly string[] | undefined;
}

/** The state of a watched query. */
export interface QueryResult<T> {
  /** The latest rows; empty before the first result. After an error, the rows of the last result. */
  readonly rows: readonly T[];
  /** Whether there is neither a result nor an error since the start or the last `retry`. */
  readonly isLoading: boolean;
  /** Why the last run failed; undefined after one that succeeded. */
  readonly error: RejoinError | undefined;
  /** Runs the query again now. It also runs after the next commit. */
  readonly retry: () => void;
}

/** The rows of a query without a result. */
export const NONE: readonly never[] = [];

/** The shared watch of a query. */
export function useWatch<T = Row>(sql: string, params: readonly SqlParam[], { key, integers }: QueryOptions): Store<QueryResult<T>> {
  return useStore(`query ${encode([sql, params, key, integers])}`, (client) => watching<T>(client, sql, [...params], { key, integers }));
}

function watching<T>(client: SyncedDatabase, sql: string, params: readonly SqlParam[], options: QueryOptions): [QueryResult<T>, Begin<QueryResult<T>>] {
  const { key } = options;
  let restart = (): void => undefined;
  const begin: Begin<QueryResult<T>> = (store) => {
    let watch: Subscription | undefined;
    let changes: Subscription | undefined;
    const update = (part: Partial<QueryResult<T>>): void => store.set({ ...store.get(), isLoading: false, error: undefined, ...part });
    const start = (): void => {
      watch?.cancel();
      watch = client.watch<T>(sql, params, { ...options, onRows, onError });
    };
    const onRows: WatchHandlers<T>['onRows'] = (rows, { difference }) => {
      changes?.cancel();
      changes = undefined;
      update({ rows: key === undefined || difference === undefined ? rows : keepRows(store.get().rows, rows, key, difference) });
    };
    const onError = (error: RejoinError): void => {
      const before = store.get();
      if (before.isLoading || before.error?.message !== error.message) update({ error });
      if (changes !== undefined || error.code === 'Closed') return;
      // The watch of a query that does not compile has ended, so a commit starts it. One between the failure and this subscription is not
      // reported, so the query runs once more first.
      changes = client.onChange([], start);
      start();
    };
    restart = () => {
      update({ isLoading: true, error: store.get().error });
      start();
    };
    start();
    return () => {
      watch?.cancel();
      changes?.cancel();
      changes = undefined;
    };
  };
  return [{ rows: NONE, isLoading: true, error: undefined, retry: () => restart() }, begin];
}

const waiting = new WeakMap<object, Promise<void>>();

/** Starts the watch of a store that may have no listener, and waits for its first result or error. */
export function settled<T>(store: Store<QueryResult<T>>): Promise<void> {
  let promise = waiting.get(store);
  if (promise !== undefined) return promise;
  promise = new Promise((resolve) => {
    let end: (() => void) | undefined;
    const check = (): void => {
      if (store.get().isLoading) return;
      end?.();
      waiting.delete(store);
      resolve();
    };
    end = store.subscribe(check);
    check();
  });
  waiting.set(store, promise);
  return promise;
}
