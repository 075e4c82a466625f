/** Watched queries of Kysely: typed rows now, and again after each commit that changes them. */
import { InvalidInputError, type SqlParam, type Subscription, type WatchHandlers, type WatchOptions } from '@rejoin/react-native';
import { type Compilable, type CompiledQuery, isCompilable, type Kysely } from 'kysely';
import { RejoinAdapter } from './dialect';

/** The handlers of a watched query, as those of `client.watch`. */
export interface QueryHandlers<T> extends Pick<WatchOptions, 'signal'>, Pick<WatchHandlers<T>, 'onError'> {
  /** Called with each new result, the first at once. A slow handler that returns a promise skips results, never the latest. */
  readonly onRows: (rows: T[]) => unknown;
}

/**
 * Watches a query: calls `onRows` with its rows now, and again after each local or remote commit that changes them, until the subscription
 * is cancelled. The plugins of `db` apply. Works offline.
 *
 * ```ts
 * const subscription = watchQuery(db, db.selectFrom('task').select(['id', 'done']), { onRows: setTasks });
 * ```
 *
 * @param query a query, or a compiled one.
 * @throws InvalidInputError if `db` has no RejoinDialect. Other errors go to `onError`.
 */
export function watchQuery<T>(
  db: Pick<Kysely<never>, 'getExecutor'>,
  query: Compilable<T> | CompiledQuery<T>,
  { onRows, onError, signal }: QueryHandlers<T>,
): Subscription {
  const { adapter, plugins } = db.getExecutor();
  if (!(adapter instanceof RejoinAdapter)) throw new InvalidInputError('watchQuery needs a Kysely instance with a RejoinDialect');
  const { sql, parameters, queryId } = isCompilable(query) ? query.compile() : query;
  let subscription: Subscription | undefined;
  const transformed = async (rows: T[]): Promise<void> => {
    let result = { rows } as { rows: object[] };
    for (const plugin of plugins) result = (await plugin.transformResult({ queryId, result: result as never })) as { rows: object[] };
    if (subscription?.isCancelled !== true) await onRows(result.rows as T[]);
  };
  subscription = adapter.client.watch<T>(sql, parameters as readonly SqlParam[], {
    integers: 'auto',
    signal,
    onRows: plugins.length === 0 ? onRows : transformed,
    onError,
  });
  return subscription;
}
