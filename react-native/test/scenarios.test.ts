/** The scenarios of `tests/scenarios`, which every language runs; each is one test. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Device, type Json } from '../interop/commands';
import { StoryServer } from './support/server';
import { folder, within } from './support/world';

const SCENARIOS = fileURLToPath(new URL('../../tests/scenarios/', import.meta.url));

for (const file of readdirSync(SCENARIOS).filter((name) => name.endsWith('.json'))) {
  describe(file, () => {
    for (const scenario of JSON.parse(readFileSync(join(SCENARIOS, file), 'utf8')) as Json[]) test(scenario.name, () => run(scenario));
  });
}

async function run(scenario: Json): Promise<void> {
  const place = folder();
  const variables: Record<string, string> = { folder: place };
  const resolve = (step: Json, given: Json): Json => replaced(step, { ...variables, ...given });
  const check = (step: Json, answer: Json): void => {
    matches(answer, replaced(step.expect ?? { error: null }, variables), JSON.stringify(step));
    for (const [name, path] of Object.entries<string>(step.save ?? {})) variables[name] = String(path.split('.').reduce((value, part) => value[part], answer));
  };
  const device = new Device({ resolve, check });
  const needs = scenario.steps.some((step: Json) => step.on === 'server' || step.server === true || step.schema === true);
  const server = needs ? await StoryServer.start({ tokens: scenario.tokens ?? false, log: scenario.log ?? false }) : undefined;
  try {
    for (const raw of scenario.steps) {
      const { expect: _, save: __, on, ...order } = raw.do === 'open' ? opening(raw, place, server) : raw;
      const answer = on === 'server' ? server?.order(resolve(order, {})) : device.answer({ ...resolve(order, {}), on });
      check(raw, await within(Promise.resolve(answer), JSON.stringify(raw), 60_000));
    }
  } finally {
    await device.end();
    await server?.quit();
  }
}

/** Adds the path, the server URL and the manifest to a step `open`. */
function opening(step: Json, place: string, server: StoryServer | undefined): Json {
  const { server: synced, ...open } = { path: join(place, `${step.on ?? 'main'}.db`), ...step };
  if (synced === true) Object.assign(open, { url: server?.url }, step.user === undefined && { user: 'u1' });
  if (synced === true || step.schema === true) open.schema = JSON.parse(server?.schema ?? '');
  if (open.user === null) delete open.user;
  return open;
}

/** Replaces the variables of a step (`${name}` in any text); unknown ones stay, for the steps of bodies. */
function replaced(value: Json, variables: Record<string, string>): Json {
  if (typeof value === 'string') return value.replace(/\$\{(\w+)\}/g, (whole, name: string) => String(variables[name] ?? whole));
  if (Array.isArray(value)) return value.map((one) => replaced(one, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, replaced(one, variables)]));
}

/** Compares an answer with an expectation, by the rules of `tests/scenarios/README.md`. */
function matches(actual: Json, expected: Json, where: string): void {
  const text = `${where}: ${JSON.stringify(actual)}`;
  if (expected === null) expect(actual ?? null, text).toBeNull();
  else if (expected === '*') expect(actual ?? null, text).not.toBeNull();
  else if (expected === '@now') expect(Math.abs(actual - Date.now()), text).toBeLessThan(600_000);
  else if (typeof expected === 'string' && expected.startsWith('!')) expect(actual, text).not.toContain(expected.slice(1));
  else if (typeof expected === 'string' && expected.startsWith('~')) for (const part of expected.slice(1).split('~')) expect(actual, text).toContain(part);
  else if (typeof expected === 'number') expect(Number(actual?.i ?? actual), text).toBe(expected);
  else if (Array.isArray(expected)) {
    expect(actual?.length, text).toBe(expected.length);
    expected.forEach((one, at) => matches(actual[at], one, where));
  } else if (typeof expected === 'object') for (const [name, one] of Object.entries(expected)) matches(actual?.[name], one, where);
  else expect(actual, text).toBe(expected);
}
