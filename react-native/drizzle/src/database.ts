/**
 * Drizzle's database on a client: queries, batches and transactions.
 *
 * A transaction and a batch are one mutation each, all or nothing; a nested transaction is a savepoint. The database neither opens the
 * client nor shuts it down. Transactions are in `session.ts`, statements and rows in `prepared.ts`.
 */
import type { RejoinDatabase } from '@rejoin/react-native';
import {
  createTableRelationsHelpers,
  DefaultLogger,
  type DrizzleConfig,
  type ExtractTablesWithRelations,
  extractTablesRelationalConfig,
  NoopLogger,
  type RelationalSchemaConfig,
} from 'drizzle-orm';
import type { BatchItem, BatchResponse } from 'drizzle-orm/batch';
import { BaseSQLiteDatabase, SQLiteAsyncDialect } from 'drizzle-orm/sqlite-core';
import type { RunResult } from './prepared';
import { Session } from './session';

/** Options of {@link drizzle}: the tables and relations of `db.query`, a logger, and the case of column names. */
export type DrizzleOptions<S extends Record<string, unknown>> = Omit<DrizzleConfig<S>, 'cache'>;

type Tables<S extends Record<string, unknown>> = ExtractTablesWithRelations<S>;

/** A Drizzle database on a client. */
export class DrizzleDatabase<S extends Record<string, unknown> = Record<string, never>> extends BaseSQLiteDatabase<'async', RunResult, S> {
  readonly #session: Session<S, Tables<S>>;

  /** @internal */
  constructor(dialect: SQLiteAsyncDialect, session: Session<S, Tables<S>>, schema: RelationalSchemaConfig<Tables<S>> | undefined) {
    super('async', dialect, session, schema);
    this.#session = session;
  }

  /** Runs the queries in one transaction, in order: all or none. */
  async batch<U extends BatchItem<'sqlite'>, T extends Readonly<[U, ...U[]]>>(queries: T): Promise<BatchResponse<T>> {
    return (await this.#session.batch(queries)) as BatchResponse<T>;
  }
}

/**
 * A Drizzle database on a client.
 *
 * ```ts
 * const db = drizzle(client, { schema: { places } });
 * ```
 */
export function drizzle<S extends Record<string, unknown> = Record<string, never>>(
  client: RejoinDatabase,
  { schema: fullSchema, casing, logger: given = false }: DrizzleOptions<S> = {},
): DrizzleDatabase<S> {
  const logger = given === true ? new DefaultLogger() : given === false ? new NoopLogger() : given;
  const dialect = new SQLiteAsyncDialect(casing && { casing });
  let schema: RelationalSchemaConfig<Tables<S>> | undefined;
  if (fullSchema !== undefined) {
    const { tables, tableNamesMap } = extractTablesRelationalConfig<Tables<S>>(fullSchema, createTableRelationsHelpers);
    schema = { fullSchema, schema: tables, tableNamesMap };
  }
  const session = new Session<S, Tables<S>>({ runner: client, begin: (body) => client.transaction(body), dialect, schema, logger });
  return new DrizzleDatabase<S>(dialect, session, schema);
}
