/** Watched queries as hooks. `watching.ts` runs the watches. */
import type { RejoinError, Row, SqlParam } from '@rejoin/react-native';
import { useMemo } from 'react';
import { useValue } from './provider';
import { NONE, type QueryOptions, type QueryResult, settled, useWatch } from './watching';

/**
 * The rows of a query now, and again after each local or remote commit that changes them.
 *
 * ```tsx
 * const { rows, isLoading, error, retry } = useQuery<Task>('SELECT * FROM task WHERE list_id = ?', [list], { key: ['id'] });
 * ```
 *
 * Parameters and options are compared by value, so they may be written inline. Other values start another watch, with no rows until its
 * first result. All hooks with the same query share one watch, which ends a second after the last of them unmounts. Works offline.
 */
export function useQuery<T = Row>(sql: string, params: readonly SqlParam[] = NONE, options: QueryOptions = {}): QueryResult<T> {
  return useValue(useWatch<T>(sql, params, options));
}

/** The state of a query of one row. */
export interface QueryOneResult<T> extends Omit<QueryResult<T>, 'rows'> {
  /** The first row; undefined if there is none, and before the first result. */
  readonly row: T | undefined;
}

/** The first row of a query, as {@link useQuery}. */
export function useQueryOne<T = Row>(sql: string, params: readonly SqlParam[] = NONE, options: QueryOptions = {}): QueryOneResult<T> {
  const result = useQuery<T>(sql, params, options);
  return useMemo(() => {
    const { rows, ...others } = result;
    return { row: rows[0], ...others };
  }, [result]);
}

/** The state of a query that has had a result. */
export interface SuspenseQueryResult<T> {
  /** The latest rows. */
  readonly rows: readonly T[];
  /** Why the last run failed, after an earlier result. */
  readonly error: RejoinError | undefined;
  /** Runs the query again now. */
  readonly retry: () => void;
}

/**
 * As {@link useQuery}, but suspends until the first result.
 *
 * @throws RejoinError, to the nearest error boundary, if the query fails before its first result. A reset of the boundary starts the query
 *   again if the error is older than a second. A later error is returned with the rows of the last result.
 */
export function useSuspenseQuery<T = Row>(sql: string, params: readonly SqlParam[] = NONE, options: QueryOptions = {}): SuspenseQueryResult<T> {
  const store = useWatch<T>(sql, params, options);
  const { rows, isLoading, error, retry } = useValue(store);
  if (rows === NONE && isLoading) throw settled(store);
  if (rows === NONE && error !== undefined) throw error;
  return useMemo(() => ({ rows, error, retry }), [rows, error, retry]);
}
