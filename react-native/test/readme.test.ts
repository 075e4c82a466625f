/** The examples of the README run as shown. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { decisions, examples, generatedTypes } from './readme.example';
import { StoryServer } from './support/server';
import { folder, within } from './support/world';

const text = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');
const lines = (code: string): string[] => code.split('\n').map((line) => line.trim()).filter((line) => line !== '');

test('each README example is part of the compiled examples', () => {
  const run = lines(text('readme.example.ts')).join('\n');
  const shown = [...text('../README.md').matchAll(/```ts\n([^]*?)```/g)].map(([, code]) => lines(code ?? '').join('\n'));
  expect(shown.length).toBeGreaterThan(5);
  for (const code of shown) expect(run).toContain(code);
});

test('README examples return the documented results', async () => {
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const server = await StoryServer.start();
  const seen = await within(examples(join(folder(), 'a.db'), server.url, server.schema, () => undefined), 'the examples');
  expect(seen).toEqual({
    open: [{ id: 't1', title: 'buy milk', done: 0 }],
    row: { big: 9007199254740993n, small: 1, kind: 'real' },
  });
  expect(warned).toHaveBeenCalledWith('task.id is taken');
  const decided = await within(decisions(join(folder(), 'b.db'), server.url, server.schema), 'the examples of verdicts');
  expect(decided).toEqual({ ranked: { rank: 2 }, undone: ['delete'] });
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
