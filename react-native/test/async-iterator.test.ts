/** On an engine without `Symbol.asyncIterator`, as older versions of Hermes, watches have the method that Babel's code looks for. */
import { afterEach, expect, test, vi } from 'vitest';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

test('watches can be iterated without Symbol.asyncIterator', async () => {
  const real = Symbol;
  const { asyncIterator: _, ...others } = Object.getOwnPropertyDescriptors(real);
  vi.stubGlobal('Symbol', Object.defineProperties((name?: string) => real(name), others));
  vi.resetModules();
  const { Watch } = await import('../src/watch');
  const { verdictsOf } = await import('../src/verdicts');
  expect(Object.getOwnPropertyNames(Watch.prototype)).toContain('@@asyncIterator');
  expect(Object.keys(verdictsOf(() => expect.unreachable(), undefined))).toEqual(['@@asyncIterator']);
});
