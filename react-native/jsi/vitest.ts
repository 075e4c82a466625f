/**
 * The part of vitest that the tests use, on its own `expect` and spies. Runs the tests of one file in order and prints `ok NAME`, `FAILED
 * NAME: REASON` or `left out NAME: REASON` for each.
 */
import { JestAsymmetricMatchers, JestChaiExpect } from '@vitest/expect';
import { fn, restoreAllMocks, spyOn } from '@vitest/spy';
import * as chai from 'chai';

chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
const asymmetric = (chai.expect as unknown as Record<string, object>);
export const expect = Object.assign((value: unknown, message?: string) => chai.expect(value, message), asymmetric, chai.expect) as unknown as typeof chai.expect;

export const vi = { fn, spyOn, restoreAllMocks };
export const expectTypeOf = (): unknown => new Proxy(() => undefined, { get: () => expectTypeOf(), apply: () => expectTypeOf() });

type Body = (...given: unknown[]) => unknown;
interface Test {
  readonly name: string;
  readonly body: Body;
}

const tests: Test[] = [];
const hooks: Record<'beforeAll' | 'beforeEach' | 'afterEach' | 'afterAll', { within: string; body: Body }[]> = { beforeAll: [], beforeEach: [], afterEach: [], afterAll: [] };
let around = '';

const hook = (kind: keyof typeof hooks) => (body: Body) => void hooks[kind].push({ within: around, body });
export const beforeAll = hook('beforeAll');
export const beforeEach = hook('beforeEach');
export const afterEach = hook('afterEach');
export const afterAll = hook('afterAll');

/** A name with the values of a row of `each`. */
function titled(name: string, row: readonly unknown[]): string {
  let at = 0;
  const first = row[0];
  const shown = (value: unknown): string => (typeof value === 'object' && value !== null ? Object.keys(value).join() : String(value));
  return name
    .replace(/%[sdijo]/g, () => shown(row[(at += 1) - 1]))
    .replace(/\$(\w+)/g, (_, member: string) => String((first as Record<string, unknown> | undefined)?.[member]));
}

const each = (declare: (name: string, body: Body) => void) => (rows: readonly unknown[]) => (name: string, body: Body) => {
  for (const one of rows) {
    const row = Array.isArray(one) ? (one as unknown[]) : [one];
    declare(titled(name, row), () => body(...row));
  }
};

const declare = (name: string, first: unknown, second?: unknown): void => {
  const body = (typeof first === 'function' ? first : second) as Body;
  tests.push({ name: around + name, body });
};
export const test = Object.assign(declare, {
  each: each(declare),
  runIf: (wanted: unknown) => (wanted ? declare : () => undefined),
  skipIf: (unwanted: unknown) => (unwanted ? () => undefined : declare),
});
export const it = test;

const group = (name: string, body: Body): void => {
  const outer = around;
  around += `${name} > `;
  body();
  around = outer;
};
export const describe = Object.assign(group, { each: each(group) });

/** Runs what the file has declared; returns whether all is well. */
export async function run(file: string, leftOut: Readonly<Record<string, string>>): Promise<boolean> {
  let well = true;
  const attempt = async (name: string, body: Body): Promise<boolean> => {
    try {
      await body();
      return true;
    } catch (error) {
      well = false;
      const { message = String(error), stack = '' } = error as Error;
      host.print(`FAILED ${file} > ${name}: ${message.split('\n').join(' | ')}`);
      host.print(stack);
      return false;
    }
  };
  const begun = new Set<object>();
  for (const { name, body } of tests) {
    const reason = Object.entries(leftOut).find(([part]) => `${file} > ${name}`.includes(part))?.[1];
    if (reason !== undefined) {
      host.print(`left out ${file} > ${name}: ${reason}`);
      continue;
    }
    const of = (kind: keyof typeof hooks) => hooks[kind].filter(({ within }) => name.startsWith(within));
    let passed = true;
    for (const one of of('beforeAll')) if (!begun.has(one)) (begun.add(one), (passed &&= await attempt(name, one.body)));
    for (const { body: hook } of of('beforeEach')) passed &&= await attempt(name, () => hook({ task: { name } }));
    passed &&= await attempt(name, body);
    for (const one of of('afterEach').reverse()) passed = (await attempt(name, one.body)) && passed;
    if (passed) host.print(`ok ${file} > ${name}`);
  }
  for (const one of hooks.afterAll.reverse()) await attempt('afterAll', one.body);
  return well;
}
