/**
 * A prepared query: its statement as a call of the client, and its rows as Drizzle expects them.
 *
 * The errors are those of the client, not wrapped. Integers are decoded as `'auto'` whatever the client's mode.
 */
import {
  type DatabaseWriter,
  InvalidInputError,
  type RejoinDatabase,
  type SqlParam,
  type Subscription,
  type WatchHandlers,
  type WatchOptions,
} from '@rejoin/react-native';
import { fillPlaceholders, type Logger, type Query } from 'drizzle-orm';
import { NoopCache } from 'drizzle-orm/cache/core';
import type { SQLiteSession, SQLiteExecuteMethod } from 'drizzle-orm/sqlite-core';
import { RemotePreparedQuery, type SqliteRemoteResult } from 'drizzle-orm/sqlite-proxy';

/** The result of a statement without rows. */
export interface RunResult extends SqliteRemoteResult {
  /** The number of rows that it changed. */
  readonly changes: number;
}

/** The handlers of a watched query, as those of `client.watch`. */
export interface ResultHandlers<T> extends Pick<WatchOptions, 'signal'>, Pick<WatchHandlers<T>, 'onError'> {
  /** Called with each new result, the first at once. A slow handler that returns a promise skips results, never the latest. */
  readonly onResult: (result: T) => unknown;
}

/** A statement with what Drizzle knows about it. */
export type PrepareArguments = Parameters<SQLiteSession<'async', RunResult, Record<string, unknown>, Record<string, never>>['prepareQuery']>;

/** Where a query runs. `watch` is missing in a transaction. */
export type Runner = DatabaseWriter & Partial<Pick<RejoinDatabase, 'watch'>>;

const OPTIONS = { integers: 'auto' } as const;
const READS = /^(?:\s|--.*\n|\/\*[^]*?\*\/)*(?:select|values|explain|pragma|with(?![^]*\b(?:insert|update|delete|replace)\b))\b/i;

export class RejoinPrepared extends RemotePreparedQuery {
  readonly #runner: Runner;
  readonly #logger: Logger;
  readonly #statement: Query;
  readonly #method: SQLiteExecuteMethod;
  readonly #reads: boolean;
  /** Whether the rows are mapped by position. Rows of raw SQL are plain objects. */
  readonly #isMapped: boolean;
  /** The number of columns, if the query has a list of them. */
  readonly #width: number | undefined;

  constructor(runner: Runner, logger: Logger, [given, fields, method, isArrays, mapper, metadata]: PrepareArguments) {
    const isSelect = metadata?.type === 'select';
    // The client's rows have one value for each name, and a join may select several columns named `id`.
    const query = isSelect && fields !== undefined ? { ...given, sql: renamed(given.sql, fields.length) } : given;
    super(async () => ({ rows: [] }), query, logger, new NoopCache(), metadata, undefined, fields, method, isArrays, mapper);
    this.#runner = runner;
    this.#logger = logger;
    this.#statement = query;
    this.#method = method;
    this.#reads = isSelect || (metadata === undefined && READS.test(given.sql));
    this.#isMapped = fields !== undefined || mapper !== undefined;
    this.#width = fields?.length;
  }

  override async run(values?: Record<string, unknown>, runner = this.#runner): Promise<RunResult> {
    const params = this.#params(values);
    return { rows: [], changes: await runner.execute(this.#statement.sql, params) };
  }

  override async all(values?: Record<string, unknown>): Promise<unknown> {
    return this.#result('all', await this.#rows(values));
  }

  override async get(values?: Record<string, unknown>): Promise<unknown> {
    return this.#result('get', await this.#rows(values));
  }

  override async values<T extends unknown[] = unknown[]>(values?: Record<string, unknown>): Promise<T[]> {
    return this.#positional(await this.#rows(values)) as T[];
  }

  /** Executes the query in another place than the one that it was prepared for. */
  async executeOn(runner: Runner): Promise<unknown> {
    return this.#method === 'run' ? this.run({}, runner) : this.#result(this.#method, await this.#rows({}, runner));
  }

  /** Watches the query; each result is mapped as that of its execution. */
  watch({ onResult, onError, signal }: ResultHandlers<unknown>): Subscription {
    if (this.#runner.watch === undefined || !this.#reads) {
      throw new InvalidInputError('watchQuery needs a query that only reads, outside of a transaction');
    }
    return this.#runner.watch<object>(this.#statement.sql, this.#params(), {
      ...OPTIONS,
      signal,
      onRows: (rows) => onResult(this.#result(this.#method, rows)),
      onError,
    });
  }

  #result(method: SQLiteExecuteMethod, rows: object[]): unknown {
    if (!this.#isMapped) return method === 'get' ? rows[0] : rows;
    const arrays = this.#positional(rows);
    return method === 'get' ? this.mapGetResult(arrays[0]) : this.mapAllResult(arrays);
  }

  #params(values: Record<string, unknown> = {}): SqlParam[] {
    const params = fillPlaceholders(this.#statement.params, values) as SqlParam[];
    this.#logger.logQuery(this.#statement.sql, params);
    return params;
  }

  #rows(values: Record<string, unknown> | undefined, runner = this.#runner): Promise<object[]> {
    const params = this.#params(values);
    return runner[this.#reads ? 'query' : 'executeReturning']<object>(this.#statement.sql, params, OPTIONS);
  }

  /** The values of rows in the order of the columns. */
  #positional(rows: object[]): unknown[][] {
    const names = Object.keys(rows[0] ?? {});
    const isOrdered = names.length < 2 || !names.some((name) => /^\d+$/.test(name));
    if (rows.length > 0 && (!isOrdered || names.length !== (this.#width ?? names.length))) {
      throw new InvalidInputError('two columns of the result have the same name, or the name of one is a number; name each with sql`...`.as(name)');
    }
    return rows.map((row) => Object.values(row));
  }
}

/** A query whose columns are named by their position. */
function renamed(sql: string, width: number): string {
  return `with "rejoin_rows"(${Array.from({ length: width }, (_, at) => `"c${at}"`).join(', ')}) as (${sql}) select * from "rejoin_rows"`;
}
