/**
 * `client.schema`: the app's local-only tables, and indexes on any table. None needs a network.
 */
import type { Engine } from './engine';

/** The app's own tables and indexes; from {@link RejoinClient.schema}. */
export class SchemaHandle {
  readonly #engine: Engine;

  /** @internal */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Creates a local-only table, if it does not exist. `definition` is the text between the parentheses of CREATE TABLE. */
  async createTable(name: string, definition: string): Promise<void> {
    await this.#engine.call((inner) => inner.createTable(name, definition));
  }

  /** Adds a column to a local-only table; `definition` is its name, type and constraints. */
  async alterTable(name: string, definition: string): Promise<void> {
    await this.#engine.call((inner) => inner.alterTable(name, definition));
  }

  /** Creates an index on columns of a table, if it does not exist, and returns its name. Synced tables are allowed. */
  async createIndex(table: string, columns: readonly string[]): Promise<string> {
    return this.#engine.call((inner) => inner.createIndex(table, [...columns]));
  }

  /**
   * Creates a full-text index over columns of a synced table and returns its name, `search_<table>`. Local and remote writes update it; it
   * is not synced. An existing index with the same definition is kept; one with another definition is rebuilt.
   *
   * Query it with `SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank`. `tokenizer` is an FTS5
   * tokenizer, by default `unicode61 remove_diacritics 2`; `trigram` finds parts of words. Works offline; scans the table.
   *
   * @throws InvalidInputError for a table that is not synced, an empty column list, an unknown column, and an unknown tokenizer.
   */
  async createSearchIndex(table: string, columns: readonly string[], tokenizer?: string): Promise<string> {
    return this.#engine.call((inner) => inner.createSearchIndex(table, [...columns], tokenizer));
  }

  /** Removes the full-text index of a synced table, if it has one. */
  async dropSearchIndex(table: string): Promise<void> {
    await this.#engine.call((inner) => inner.dropSearchIndex(table));
  }
}
