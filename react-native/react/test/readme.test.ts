/** The README shows the examples that `examples.test.tsx` runs. */
import { test } from 'vitest';
import { expectExamples } from '../../test/support/pages';

test('README shows the examples that run', () => expectExamples('../react/README.md', '../react/test/readme.example.tsx', 4));
