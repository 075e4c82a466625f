/**
 * The query methods of the client, of transactions and of snapshots. Subclasses define which state of the database they read.
 */
import { type DecodeOptions, type Row, RowBuffer } from './row-buffer';
import type { IntegerMode, SqlParam } from './value';

/** The base class of everything that runs queries. */
export abstract class Reader {
  /** How integers are decoded unless a call overrides it. */
  protected readonly integers: IntegerMode;

  /** @internal */
  protected constructor(integers: IntegerMode) {
    this.integers = integers;
  }

  /** Runs the query and returns the bytes of a row buffer. */
  protected abstract fetch(sql: string, params: readonly SqlParam[]): Promise<ArrayBuffer>;

  /**
   * The rows of a query, as plain objects.
   *
   * ```ts
   * const tasks = await client.query<{ id: string; done: boolean }>('SELECT id, done FROM task WHERE rank > ?', [3]);
   * ```
   *
   * The type parameter is not checked.
   *
   * @param params a value for each `?`, in order; see {@link SqlParam}.
   * @throws InvalidInputError if the statement does not compile, or writes.
   */
  async query<T = Row>(sql: string, params: readonly SqlParam[] = [], options: DecodeOptions = {}): Promise<T[]> {
    return (await this.rows<T>(sql, params, options)).toArray();
  }

  /** The first row of a query, or undefined if there is none. Throws as {@link query} does. */
  async queryOne<T = Row>(
    sql: string,
    params: readonly SqlParam[] = [],
    options: DecodeOptions = {},
  ): Promise<T | undefined> {
    return (await this.rows<T>(sql, params, options)).at(0);
  }

  /**
   * The rows of a query, decoded on access: for long results of which only a part is shown. Throws as {@link query} does.
   */
  async rows<T = Row>(
    sql: string,
    params: readonly SqlParam[] = [],
    options: DecodeOptions = {},
  ): Promise<RowBuffer<T>> {
    return this.decoded<T>(await this.fetch(sql, params), options);
  }

  /** @internal */
  protected decoded<T>(bytes: ArrayBuffer, options: DecodeOptions = {}): RowBuffer<T> {
    return new RowBuffer<T>(new Uint8Array(bytes), { integers: options.integers ?? this.integers });
  }
}
