/** Watched queries of Drizzle: the typed result now, and again after each commit that changes it. */
import { InvalidInputError, type Subscription } from '@rejoin/react-native';
import { RejoinPrepared, type ResultHandlers } from './prepared';

/**
 * Watches a query: calls `onResult` with what awaiting the query returns, now and again after each local or remote commit that changes it,
 * until the subscription is cancelled. Works offline.
 *
 * ```ts
 * const subscription = watchQuery(db.select().from(task).where(eq(task.done, false)), { onResult: setTasks });
 * ```
 *
 * @param query a select, or a query of `db.query`, without placeholders.
 * @throws InvalidInputError if the query is not one of a {@link DrizzleDatabase}. Other errors go to `onError`.
 */
export function watchQuery<Q extends PromiseLike<unknown> & { prepare(): unknown }>(
  query: Q,
  handlers: ResultHandlers<Awaited<Q>>,
): Subscription {
  const prepared = query.prepare();
  if (!(prepared instanceof RejoinPrepared)) throw new InvalidInputError('watchQuery needs a query of a database that drizzle(client) returned');
  return prepared.watch(handlers as ResultHandlers<unknown>);
}
