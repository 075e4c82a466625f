/**
 * The dialect: Kysely's SQLite compiler and introspector on a client of Rejoin.
 *
 * The dialect neither opens the client nor shuts it down. The statements and transactions are in `connection.ts`.
 */
import type { RejoinDatabase } from '@rejoin/react-native';
import { type Dialect, type Driver, type Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, type TransactionSettings } from 'kysely';
import { RejoinConnection } from './connection';

/**
 * A Kysely dialect for a client.
 *
 * ```ts
 * const db = new Kysely<TablesOf<{ places: PlacesRow }>>({ dialect: new RejoinDialect(client) });
 * ```
 *
 * `db.destroy()` does not shut the client down.
 */
export class RejoinDialect implements Dialect {
  readonly #client: RejoinDatabase;

  constructor(client: RejoinDatabase) {
    this.#client = client;
  }

  createDriver(): Driver {
    return new RejoinDriver(this.#client);
  }

  createQueryCompiler(): SqliteQueryCompiler {
    return new SqliteQueryCompiler();
  }

  createAdapter(): RejoinAdapter {
    return new RejoinAdapter(this.#client);
  }

  createIntrospector(db: Kysely<unknown>): SqliteIntrospector {
    return new SqliteIntrospector(db);
  }
}

/** The SQLite adapter, with the client for `watchQuery`. */
export class RejoinAdapter extends SqliteAdapter {
  constructor(readonly client: RejoinDatabase) {
    super();
  }

  /** Reads do not wait for an open transaction; the engine queues the writes. */
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

class RejoinDriver implements Driver {
  readonly #client: RejoinDatabase;

  constructor(client: RejoinDatabase) {
    this.#client = client;
  }

  init = async (): Promise<void> => undefined;
  destroy = async (): Promise<void> => undefined;
  acquireConnection = async (): Promise<RejoinConnection> => new RejoinConnection(this.#client);
  releaseConnection = async (): Promise<void> => undefined;
  beginTransaction = (connection: RejoinConnection, settings: TransactionSettings): Promise<void> => connection.begin(settings);
  commitTransaction = (connection: RejoinConnection): Promise<void> => connection.commit();
  rollbackTransaction = (connection: RejoinConnection): Promise<void> => connection.rollback();
  savepoint = (connection: RejoinConnection, name: string): Promise<void> => connection.savepoint(name);
  rollbackToSavepoint = (connection: RejoinConnection, name: string): Promise<void> => connection.rollbackTo(name);
  releaseSavepoint = (connection: RejoinConnection, name: string): Promise<void> => connection.release(name);
}
