/** The examples of a page of the documentation, compared with the tests that compile and run them. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';

/** The text of a file, by its path from the folder of the tests. */
export const text = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

const lines = (code: string): string[] => code.split('\n').map((line) => line.trim()).filter((line) => line !== '');

/** Each TypeScript block of the page, at least so many, is part of the test's source, apart from indentation and empty lines. */
export function expectExamples(page: string, test: string, atLeast: number): void {
  const run = lines(text(test)).join('\n');
  const shown = [...text(page).matchAll(/```(?:ts|tsx|typescript|js)\n([^]*?)```/g)].map(([, code]) => lines(code ?? '').join('\n'));
  expect(shown.length).toBeGreaterThanOrEqual(atLeast);
  for (const code of shown) expect(run).toContain(code);
}
