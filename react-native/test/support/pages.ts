/** The examples of a page of the documentation, compared with the tests that compile and run them. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';

/** The text of a file, by its path from the folder of the tests. */
export const text = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

const lines = (code: string): string[] => code.split('\n').map((line) => line.trim()).filter((line) => line !== '');

const IMPORT = /^import \{ (.*) \} from '(.*)';\n/gm;

/** What code imports from the modules that an app imports, as `NAME from MODULE`; sorted. */
function imports(code: string): string[] {
  const modules: Record<string, string> = { '../src/index': '@rejoin/react-native', './generated/rejoin-schema': './rejoin-schema' };
  const all = [...code.matchAll(IMPORT)].flatMap(([, names = '', from = '']) => {
    const module = modules[from] ?? from;
    return /support|vitest|^react-native$/.test(module) ? [] : names.split(', ').map((name) => `${name.replace('type ', '')} from ${module}`);
  });
  return all.sort();
}

/**
 * Each TypeScript block of the page, at least so many, is part of the test's source, apart from indentation, empty lines and imports.
 * `withImports`: each block imports what the test's source imports for it, and otherwise only modules that the test replaces.
 */
export function expectExamples(page: string, test: string, atLeast: number, withImports = false): void {
  const run = lines(text(test)).join('\n');
  const shown = [...text(page).matchAll(/```(?:ts|tsx|typescript|js)\n([^]*?)```/g)].map(([, code]) => `${lines(code ?? '').join('\n')}\n`);
  expect(shown.length).toBeGreaterThanOrEqual(atLeast);
  for (const block of shown) {
    const code = block.replace(/^import .*\n/gm, '');
    expect(`${run}\n`).toContain(code);
    const used = imports(run).filter((name) => new RegExp(`\\b${name.split(' ')[0]}\\b`).test(code));
    if (withImports) expect(imports(block), code).toEqual(used);
  }
}
