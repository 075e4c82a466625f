/** The README shows the examples that run. */
import { expect, test } from 'vitest';
import { expectExamples } from '../../test/support/pages';
import { within } from '../../test/support/world';
import { examples } from './readme.example';
import { withPlaces } from './support/db';

test('README shows the examples that run', async () => {
  expectExamples('../drizzle/README.md', '../drizzle/test/readme.example.ts', 3);
  const { client } = await withPlaces();
  const shown: unknown[] = [];
  await within(examples(client, (rows) => shown.push(...rows)), 'the examples');
  for (const row of shown) expect(row).toEqual({ id: 'p1', in: true });
  expect(await client.query('SELECT visits, "in" FROM places')).toEqual([{ visits: 1, in: false }]);
});
