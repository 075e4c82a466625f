/** The README shows the examples that run. */
import { createCollection } from '@tanstack/db';
import { expect, test } from 'vitest';
import { device, newUser, sync } from '../../test/support/devices';
import { expectExamples } from '../../test/support/pages';
import { StoryServer } from '../../test/support/server';
import { until, within } from '../../test/support/world';
import { rejoinCollectionOptions } from '../src/index';
import { decide, deleteBoth, first } from './readme.example';

test('README shows the examples that run', async () => {
  expectExamples('../tanstack-db/README.md', '../tanstack-db/test/readme.example.ts', 3);
  const server = await StoryServer.start();
  const client = await device(server, newUser());
  const warned: string[] = [];
  const tasks = await within(first(client, (text) => warned.push(text)), 'the first example');
  expect(tasks.get('t1')).toMatchObject({ title: 'buy milk', done: true });
  expect(await client.queue.all()).toHaveLength(2);
  await client.schema.createTable('draft', 'id TEXT PRIMARY KEY');
  const drafts = createCollection(rejoinCollectionOptions<{ id: string }>({ client, table: 'draft', key: 'id' }));
  await drafts.preload();
  await client.execute("INSERT INTO draft VALUES ('d1')");
  await until(() => drafts.has('d1'), 'the draft');
  await sync(client);

  await tasks.update('t1', (draft) => void (draft.title = 'x'.repeat(201))).isPersisted.promise;
  await sync(client);
  await until(() => warned.length > 0, 'the report');
  expect(warned[0]).toMatch(/^not accepted: rejected /);
  await decide(client, tasks);
  expect([await tasks.utils.parked(), tasks.get('t1')?.title]).toEqual([[], 'buy milk']);
  await within(deleteBoth(tasks, drafts as never), 'the transaction');
  expect([tasks.size, drafts.size]).toEqual([0, 0]);
  await Promise.all([tasks.cleanup(), drafts.cleanup()]);
  await server.quit();
});
