/**
 * The session of a Drizzle database: its queries, its transactions and its batches, as calls of a client.
 *
 * Inside a transaction another session runs on the client's transaction, and begins savepoints. Statements and rows are in `prepared.ts`.
 */
import type { DatabaseTransaction } from '@rejoin/react-native';
import type { Logger, Query, RelationalSchemaConfig, TablesRelationalConfig } from 'drizzle-orm';
import type { BatchItem } from 'drizzle-orm/batch';
import { type SQLiteAsyncDialect, type SQLiteExecuteMethod, SQLiteSession, SQLiteTransaction } from 'drizzle-orm/sqlite-core';
import { type PrepareArguments, RejoinPrepared, type Runner, type RunResult } from './prepared';

/** What a session runs on. */
interface Context<T extends TablesRelationalConfig> {
  readonly runner: Runner;
  /** Begins a transaction, or a savepoint in one. */
  readonly begin: <R>(body: (tx: DatabaseTransaction) => Promise<R>) => Promise<R>;
  readonly dialect: SQLiteAsyncDialect;
  readonly schema: RelationalSchemaConfig<T> | undefined;
  readonly logger: Logger;
}

/** @internal */
export class Session<S extends Record<string, unknown>, T extends TablesRelationalConfig> extends SQLiteSession<'async', RunResult, S, T> {
  readonly #context: Context<T>;

  constructor(context: Context<T>) {
    super(context.dialect);
    this.#context = context;
  }

  override prepareQuery(...args: PrepareArguments): RejoinPrepared {
    return new RejoinPrepared(this.#context.runner, this.#context.logger, args);
  }

  override transaction<R>(body: (tx: SQLiteTransaction<'async', RunResult, S, T>) => Promise<R>): Promise<R> {
    const { begin, dialect, schema } = this.#context;
    return begin((tx) => body(new Transaction<S, T>('async', dialect, this.#inside(tx), schema)));
  }

  /** Runs prepared queries in one transaction. */
  batch(queries: readonly BatchItem<'sqlite'>[]): Promise<unknown[]> {
    return this.#context.begin(async (tx) => {
      const inside = this.#inside(tx);
      const results: unknown[] = [];
      for (const query of queries) results.push(await inside.#again(query as unknown as Preparable));
      return results;
    });
  }

  /** The session of a transaction; its transactions are savepoints. */
  #inside(tx: DatabaseTransaction): Session<S, T> {
    return new Session({ ...this.#context, runner: tx, begin: (body) => tx.savepoint(() => body(tx)) });
  }

  /** Runs a query that was prepared outside of this session. */
  #again(query: Preparable): Promise<unknown> {
    const prepared = query._prepare();
    if (prepared instanceof RejoinPrepared) return prepared.executeOn(this.#context.runner);
    const { method, ...raw } = prepared.getQuery();
    return this.prepareQuery(raw, undefined, 'all', false)[method]();
  }
}

/** What each query of a batch has; Drizzle does not declare it. */
interface Preparable {
  _prepare(): { getQuery(): Query & { method: SQLiteExecuteMethod | 'values' } };
}

class Transaction<S extends Record<string, unknown>, T extends TablesRelationalConfig> extends SQLiteTransaction<'async', RunResult, S, T> {
  readonly #session: SQLiteSession<'async', RunResult, S, T>;

  constructor(...args: ConstructorParameters<typeof SQLiteTransaction<'async', RunResult, S, T>>) {
    super(...args);
    this.#session = args[2];
  }

  override transaction<R>(body: (tx: SQLiteTransaction<'async', RunResult, S, T>) => Promise<R>): Promise<R> {
    return this.#session.transaction(body);
  }
}
