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
  const user = newUser();
  const client = await device(server, user);
  const warned: string[] = [];
  const tasks = await within(first(client, user, (text) => warned.push(text)), 'the first example');
  expect(tasks.get('t1')).toMatchObject({ title: 'buy milk', done: true });
  expect(await client.queue.pending()).toHaveLength(2);
  const tags = createCollection(rejoinCollectionOptions<{ id: string }>({ client, table: 'tag', key: 'id' }));
  await tags.preload();
  await client.execute("INSERT INTO tag (id, task_id, name) VALUES ('g1', 't1', 'x')");
  await until(() => tags.has('g1'), 'the tag');
  await sync(client);

  await tasks.update('t1', (draft) => void (draft.title = 'refused')).isPersisted.promise;
  await sync(client);
  await until(() => warned.length > 0, 'the report');
  expect(warned[0]).toMatch(/^not accepted: rejected /);
  await decide(client, tasks);
  expect([await tasks.utils.parked(), tasks.get('t1')?.title]).toEqual([[], 'buy milk']);
  await within(deleteBoth(tasks, tags as never), 'the transaction');
  expect([tasks.size, tags.size]).toEqual([0, 0]);
  await Promise.all([tasks.cleanup(), tags.cleanup()]);
  await server.quit();
});
