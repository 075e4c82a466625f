/** The examples of the README run as shown. */
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { RejoinClient } from '../src/index';
import { decisions, examples, generatedTypes, tenLines } from './readme.example';
import { expectExamples, text } from './support/pages';
import { StoryServer } from './support/server';
import { folder, gate, within } from './support/world';

test('each README example is part of the compiled examples', () => expectExamples('../README.md', 'readme.example.ts', 15, true));

test('first README example writes, watches and lists parked ones', async () => {
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const server = await StoryServer.start();
  const { url, schema } = server;
  const [path, userId] = [join(folder(), 'a.db'), 'ana'];
  const before = await RejoinClient.open({ path, server: url, userId, schema });
  await before.execute("INSERT INTO tasks (id, title) VALUES ('t1', ?)", ['x'.repeat(201)]);
  await before.sync.run();
  await before.shutdown();
  const shown = gate<unknown[]>();
  await within(tenLines(path, url, schema, userId, shown), 'the first example');
  expect(await shown.promise).toEqual([{ id: expect.any(String), title: 'buy milk' }]);
  expect(warned.mock.calls).toEqual([[expect.stringMatching(/^\S+ is parked: rejected$/)]]);
  warned.mockRestore();
  await server.quit();
});

test('README examples return the documented results', async () => {
  const informed = vi.spyOn(console, 'info').mockImplementation(() => undefined);
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const server = await StoryServer.start();
  const seen = await within(examples(join(folder(), 'a.db'), server.url, server.schema, () => undefined), 'the examples');
  expect(seen).toEqual({
    open: [{ id: 't1', title: 'buy milk', done: false }],
    row: { big: 9007199254740993n, small: 1, kind: 'real' },
  });
  expect(warned).toHaveBeenCalledWith('tasks.id is taken');
  expect(informed).toHaveBeenCalledWith('0 writes wait');
  informed.mockRestore();
  const decided = await within(decisions(join(folder(), 'b.db'), server.url, server.schema, 'ben'), 'the examples of verdicts');
  expect(decided).toEqual({ moved: { position: 2 }, undone: ['delete'] });
  expect(warned).toHaveBeenCalledWith('refused', 'it is gone');
  expect(warned).toHaveBeenCalledWith(expect.any(String), 'rejected');
  warned.mockRestore();
  await server.quit();
});

test('README example of generated types writes the documented row', async () => {
  const written = generatedTypes(join(folder(), 'c.db'), text('../../cli/tests/schema.json'), text('../../cli/tests/take_part.json'));
  expect(await within(written, 'the example of generated types')).toEqual([
    expect.objectContaining({ id: 'p1', name: 'Quay', in: true, open: false, height: 12, visits: 2 }),
  ]);
});
