/**
 * A connection of Kysely: its statements, its transaction and its savepoints, as calls of the client.
 *
 * A transaction is one mutation, all or nothing. The errors are those of the client. Integers are decoded as `'auto'` whatever the client's
 * mode, so that the values have the generated types.
 */
import { type DatabaseTransaction, InvalidInputError, type RejoinDatabase, type SqlParam } from '@rejoin/react-native';
import { type CompiledQuery, type DatabaseConnection, type QueryResult, RawNode, SelectQueryNode, type TransactionSettings } from 'kysely';
import { hold, type Held } from './held';

const OPTIONS = { integers: 'auto' } as const;

export class RejoinConnection implements DatabaseConnection {
  readonly #client: RejoinDatabase;
  /** Stays after its end, so that a late statement fails instead of running outside of it. */
  #transaction: Held<DatabaseTransaction> | undefined;
  /** The open savepoints, outermost first. */
  #savepoints: { readonly name: string; readonly held: Held<undefined> }[] = [];

  constructor(client: RejoinDatabase) {
    this.#client = client;
  }

  async executeQuery<R>({ sql, parameters, query }: CompiledQuery): Promise<QueryResult<R>> {
    const on = this.#transaction?.value ?? this.#client;
    const params = parameters as readonly SqlParam[];
    switch (methodOf(query, sql)) {
      case 'query':
        return { rows: await on.query<R>(sql, params, OPTIONS) };
      case 'executeReturning':
        return { rows: await on.executeReturning<R>(sql, params, OPTIONS) };
      case 'execute':
        return { rows: [], numAffectedRows: BigInt(await on.execute(sql, params)) };
    }
  }

  streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new InvalidInputError('stream() is not supported; use execute(), limit() and offset(), or client.rows()');
  }

  async begin({ accessMode, isolationLevel = 'serializable' }: TransactionSettings): Promise<void> {
    if (accessMode === 'read only') throw new InvalidInputError('a read only transaction is not supported; use client.read()');
    if (isolationLevel !== 'serializable') throw new InvalidInputError(`isolation level ${isolationLevel} is not supported; omit it`);
    this.#transaction = await hold<DatabaseTransaction>((body) => this.#client.transaction(body));
  }

  async commit(): Promise<void> {
    await this.#endSavepoints('keep');
    await this.#begun().keep();
  }

  async rollback(): Promise<void> {
    await this.#begun().undo();
  }

  async savepoint(name: string): Promise<void> {
    const { value } = this.#begun();
    this.#savepoints.push({ name, held: await hold<undefined>((body) => value.savepoint(() => body(undefined))) });
  }

  async rollbackTo(name: string): Promise<void> {
    await this.#endSavepoints('undo', name);
    // In SQL a savepoint stays open after a rollback to it.
    await this.savepoint(name);
  }

  async release(name: string): Promise<void> {
    await this.#endSavepoints('keep', name);
  }

  /** Ends savepoints from the innermost to the one with this name, or all. */
  async #endSavepoints(how: 'keep' | 'undo', name?: string): Promise<void> {
    const from = name === undefined ? 0 : this.#savepoints.map((savepoint) => savepoint.name).lastIndexOf(name);
    if (from < 0) throw new InvalidInputError(`there is no savepoint ${name}; it was released or rolled back`);
    for (const { held } of this.#savepoints.splice(from).reverse()) await held[how]();
  }

  #begun(): Held<DatabaseTransaction> {
    if (this.#transaction === undefined) throw new InvalidInputError('the connection has no transaction; begin one');
    return this.#transaction;
  }
}

const LEADING = String.raw`^(?:\s|--.*\n|\/\*[^]*?\*\/)*`;
const READS = new RegExp(`${LEADING}(?:select|values|explain|pragma|with)\\b`, 'i');
const WITH = new RegExp(`${LEADING}with\\b`, 'i');
const WRITES = /\b(?:insert|update|delete|replace)\b/i;

/** The call of the client for a statement; for raw SQL it is derived from the text. */
function methodOf(query: CompiledQuery['query'], sql: string): 'query' | 'execute' | 'executeReturning' {
  if (SelectQueryNode.is(query)) return 'query';
  if (!RawNode.is(query)) return 'returning' in query && query.returning !== undefined ? 'executeReturning' : 'execute';
  // `executeReturning` also runs a query, so a wrong guess returns the same rows.
  if (READS.test(sql)) return WITH.test(sql) && WRITES.test(sql) ? 'executeReturning' : 'query';
  return /\breturning\b/i.test(sql) ? 'executeReturning' : 'execute';
}
