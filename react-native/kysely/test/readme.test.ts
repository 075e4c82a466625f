/** The README shows the examples that run. */
import { expect, test } from 'vitest';
import { expectExamples } from '../../test/support/pages';
import { gate, within } from '../../test/support/world';
import { examples } from './readme.example';
import { withPlaces } from './support/db';

test('README shows the examples that run', async () => {
  expectExamples('../kysely/README.md', '../kysely/test/readme.example.ts', 2);
  const { client } = await withPlaces();
  const shown = gate<unknown[]>();
  await within(examples(client, shown.open), 'the examples');
  expect(await within(shown.promise, 'the rows')).toEqual([{ id: 'p1', name: 'Quay', in: true }]);
  expect(await client.query('SELECT visits FROM places')).toEqual([{ visits: 1 }]);
});
