/** Column types that Drizzle lacks, and the compile-time comparison of a table with the row type that `rejoin generate` writes. */
import type { AnyColumn, GetColumnData, Table } from 'drizzle-orm';
import { customType } from 'drizzle-orm/sqlite-core';

/** A BLOB as a `Uint8Array`; Drizzle's `blob()` needs Node's `Buffer`. */
export const bytes = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'blob' });

/** An INTEGER of 64 bits: a number if that is exact, else a bigint; Drizzle's `integer()` is typed as a number. */
export const int64 = customType<{ data: number | bigint; driverData: number | bigint }>({ dataType: () => 'integer' });

/** The values of a table's columns, by the names of the columns in the database. */
export type ColumnsOf<T extends Table> = {
  [Key in keyof T['_']['columns'] as NameOf<T['_']['columns'][Key]>]: GetColumnData<T['_']['columns'][Key]>;
};

type NameOf<Column extends AnyColumn> = Column['_']['name'];
type IsOptional<Row, Name extends keyof Row> = Record<never, never> extends Pick<Row, Name> ? true : false;
type Required<Row> = { [Name in keyof Row]-?: IsOptional<Row, Name> extends true ? never : Name }[keyof Row];
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

/** The columns whose types differ, that the row lacks, or that the table lacks although an insert needs them. */
type Misfit<Columns, Row> = {
  [Name in keyof Columns | Required<Row>]: Name extends keyof Columns & keyof Row
    ? Same<Columns[Name], Exclude<Row[Name], undefined>> extends true
      ? never
      : Name
    : Name;
}[keyof Columns | Required<Row>];

/**
 * `true` if the columns of a table have the types of a generated row, else the names of those that do not. The table may lack columns that
 * are optional in the row.
 *
 * ```ts
 * true satisfies Fits<typeof places, PlacesRow>;
 * ```
 */
export type Fits<T extends Table, Row> = [Misfit<ColumnsOf<T>, Row>] extends [never] ? true : Misfit<ColumnsOf<T>, Row>;
