/** Test helpers: tables as an app declares them, and Drizzle on a device with the generated tables. */
import { readFileSync } from 'node:fs';
import type { RejoinClient, RejoinConfig } from '@rejoin/react-native';
import { relations } from 'drizzle-orm';
import { integer, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { opened } from '../../../test/support/world';
import { bytes, drizzle, type DrizzleDatabase, int64 } from '../../src/index';

/** The generated table `places`, with most of its columns. */
export const places = sqliteTable('places', {
  id: text().primaryKey(),
  name: text().notNull(),
  class: text(),
  first: text('first name'),
  second: integer('2nd'),
  in: integer({ mode: 'boolean' }).notNull(),
  open: integer({ mode: 'boolean' }),
  height: real().notNull(),
  visits: int64().notNull(),
  photo: bytes(),
  seenAt: text('seen_at'),
});

/** The tables of the real server. */
export const task = sqliteTable('task', {
  id: text().primaryKey(),
  userId: text('user_id'),
  title: text().notNull(),
  done: integer({ mode: 'boolean' }).notNull().default(false),
  note: text(),
});
export const tag = sqliteTable('tag', { id: text().primaryKey(), taskId: text('task_id').notNull(), name: text().notNull() });
export const taskRelations = relations(task, ({ many }) => ({ tags: many(tag) }));
export const tagRelations = relations(tag, ({ one }) => ({ task: one(task, { fields: [tag.taskId], references: [task.id] }) }));
export const tables = { task, tag, taskRelations, tagRelations };

const schema = readFileSync(new URL('../../../../cli/tests/schema.json', import.meta.url), 'utf8');

/** A device with the table `places`, without a server. */
export async function withPlaces(config: Partial<RejoinConfig> = {}): Promise<{ client: RejoinClient; db: DrizzleDatabase }> {
  const client = await opened({ schema, ...config });
  return { client, db: drizzle(client) };
}

type NewPlace = typeof places.$inferInsert;

/** The smallest row of `places`. */
export const place = (id: string, values: Partial<NewPlace> = {}): NewPlace => ({ id, name: id, in: false, height: 1, visits: 0, ...values });
