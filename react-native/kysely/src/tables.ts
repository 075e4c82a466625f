/** Kysely's table types from the row types that `rejoin generate` writes. Types only. */
import type { ColumnType } from 'kysely';

/**
 * Kysely's type of a table with these rows. A column that is optional in the row may be omitted from an insert, and is null or a value in
 * a result, never undefined.
 */
export type TableOf<Row> = {
  [Column in keyof Row]-?: Record<never, never> extends Pick<Row, Column>
    ? ColumnType<Exclude<Row[Column], undefined>, Row[Column] | undefined, Exclude<Row[Column], undefined>>
    : Row[Column];
};

/**
 * Kysely's type of a database with these rows by table name.
 *
 * ```ts
 * const db = new Kysely<TablesOf<{ places: PlacesRow }>>({ dialect: new RejoinDialect(client) });
 * ```
 */
export type TablesOf<Rows> = { [Table in keyof Rows]: TableOf<Rows[Table]> };
