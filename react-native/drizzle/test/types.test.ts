/** The compile-time comparison of Drizzle's tables with the generated row types; the compiler is the test. */
import { blob, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { expectTypeOf, test } from 'vitest';
import type { FavoriteMarksRow, PlacesRow } from '../../test/generated/rejoin-schema';
import { bytes, type Fits, int64 } from '../src/index';
import { places } from './support/db';

interface Row {
  id: string;
  n: number | bigint;
  done: boolean;
  note?: string | null;
  data?: Uint8Array | null;
}

test('table fits its generated row', () => {
  true satisfies Fits<typeof places, PlacesRow>;
  const marks = sqliteTable('favorite_marks', { id: text().primaryKey(), ownerId: text('owner_id') });
  true satisfies Fits<typeof marks, FavoriteMarksRow>;
  // @ts-expect-error It is another table's row.
  true satisfies Fits<typeof marks, PlacesRow>;
});

test('table that does not fit names the columns', () => {
  const id = text().primaryKey();
  const done = integer({ mode: 'boolean' }).notNull();
  const fitting = sqliteTable('t', { id, n: int64().notNull(), done, remark: text('note'), data: bytes() });
  expectTypeOf<Fits<typeof fitting, Row>>().toEqualTypeOf<true>();
  const numeric = sqliteTable('t', { id, n: integer().notNull(), done: integer().notNull() });
  expectTypeOf<Fits<typeof numeric, Row>>().toEqualTypeOf<'n' | 'done'>();
  const nullable = sqliteTable('t', { id, n: int64(), done, note: text().notNull() });
  expectTypeOf<Fits<typeof nullable, Row>>().toEqualTypeOf<'n' | 'note'>();
  const missing = sqliteTable('t', { id, done, other: text() });
  expectTypeOf<Fits<typeof missing, Row>>().toEqualTypeOf<'n' | 'other'>();
  const buffer = sqliteTable('t', { id, n: int64().notNull(), done, data: blob({ mode: 'buffer' }) });
  expectTypeOf<Fits<typeof buffer, Row>>().toEqualTypeOf<'data'>();
});
