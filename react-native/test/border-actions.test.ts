/**
 * Actions that are code, over the generated border: JavaScript's one thread runs the handler while the engine's writer waits for it.
 *
 * Promise: none of the calls that go to and fro meanwhile stops the other side. Border: what the package makes of actions is tested
 * with the package.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ffi } from '../src/border';

const SCHEMA = JSON.stringify({
  schema_version: 1,
  schema_hash: '',
  tables: [
    {
      table_name: 'task',
      push_policy: 'owner_only',
      updated_at_column: '',
      deleted_at_column: '',
      primary_key: ['id'],
      columns: [
        { name: 'id', db_type: 'text', logical_type: 'string', is_primary_key: true },
        { name: 'n', db_type: 'integer', logical_type: 'int64' },
      ],
    },
  ],
});

type Run = ffi.ActionHandler['run'];

let folder: string;
let client: ffi.RejoinClientLike | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rejoin-'));
});

afterEach(async () => {
  await client?.shutdown();
  rmSync(folder, { recursive: true });
});

/** A client with one action of this name and code. */
async function opened(name: string, run: Run): Promise<ffi.RejoinClientLike> {
  const actions = new ffi.ActionRegistry();
  const n = ffi.ActionParameter.create({ name: 'n', kind: ffi.ActionParameterType.Integer, optional: true });
  actions.handler(ffi.ActionDefinition.create({ name, parameters: [n] }), { run });
  const config = { path: join(folder, 'app.db'), schemaJson: SCHEMA, transactionIdleMs: 500 };
  client = await ffi.RejoinClient.open(ffi.ClientConfig.create(config), undefined, undefined, actions);
  await client.execute("INSERT INTO task (id, n) VALUES ('a', 0)", []);
  return client;
}

const add: Run = async (context, given) => {
  const { n } = JSON.parse(given) as { n: number };
  await context.execute('UPDATE task SET n = n + ?', [new ffi.SqlValue.Integer({ value: BigInt(n) })]);
  const rows = await context.query('SELECT n FROM task', []);
  return JSON.stringify({ bytes: rows.byteLength, in: context.mutationId() });
};

test('a handler in JavaScript reads and writes while the writer waits for it', async () => {
  const client = await opened('add', add);
  const added = await client.perform('add', '{"n": 2}');
  expect(JSON.parse(added.valueJson)).toMatchObject({ in: added.id });
  expect((await client.pending()).map((one) => one.action)).toEqual([undefined, 'add']);
});

test('hundreds at once end, and other calls between them too', async () => {
  const client = await opened('add', add);
  const calls: Promise<unknown>[] = [];
  for (let at = 0; at < 200; at += 1) {
    calls.push(client.perform('add', '{"n": 1}'), client.query('SELECT n FROM task', []));
    if (at % 10 === 0) calls.push(client.execute('UPDATE task SET n = n', []), client.pendingCounts());
  }
  await Promise.all(calls);
  const { rows } = (await client.pending()).at(-1) ?? { rows: [] };
  expect(rows[0]?.columns[0]?.newValue).toEqual(new ffi.SqlValue.Integer({ value: 200n }));
});

test('a handler that never ends is given up, and its signal says so', async () => {
  let signal: AbortSignal | undefined;
  const client = await opened('hang', async (context, _, options) => {
    signal = options?.signal;
    await context.execute('UPDATE task SET n = 9', []);
    return new Promise(() => {});
  });
  const hung: unknown = await client.perform('hang', '').catch((error: unknown) => error);
  expect(hung).toMatchObject({ tag: ffi.RejoinError_Tags.Action, inner: { fault: ffi.ActionFault.TimedOut } });
  await expect.poll(() => signal?.aborted).toBe(true);
  expect(await client.execute('UPDATE task SET n = 1 WHERE n = 0', [])).toBe(1n);
});

test('suspending does not wait for a handler', async () => {
  let begun: () => void = () => {};
  const running = new Promise<void>((resolve) => (begun = resolve));
  const client = await opened('hang', async (context) => {
    await context.execute('UPDATE task SET n = 9', []);
    begun();
    return new Promise(() => {});
  });
  const performed = client.perform('hang', '').catch((error: unknown) => error);
  await running;
  await client.suspend();
  expect(await performed).toMatchObject({ tag: ffi.RejoinError_Tags.Suspended });
  await client.resume();
  expect(await client.execute('UPDATE task SET n = 1 WHERE n = 0', [])).toBe(1n);
});

test('what a handler throws arrives as it was thrown', async () => {
  const client = await opened('try', async (context, given) => {
    const { n } = JSON.parse(given) as { n: number };
    await context.execute('UPDATE task SET n = 9', []);
    if (n === 1) await context.execute("INSERT INTO task (id) VALUES ('a')", []);
    const refusal = { reason: '', action: '', fault: ffi.ActionFault.Refused, words: 'too late' };
    if (n === 2) throw new ffi.RejoinError.Action(refusal);
    throw new ffi.RejoinError.Callback({ reason: 'TypeError' });
  });
  const thrown = (n: number) => client.perform('try', `{"n": ${n}}`).catch((error: unknown) => error);
  expect(await thrown(1)).toMatchObject({ tag: ffi.RejoinError_Tags.Constraint, inner: { rule: 'UNIQUE' } });
  const refused = { action: 'try', fault: ffi.ActionFault.Refused, words: 'too late' };
  expect(await thrown(2)).toMatchObject({ tag: ffi.RejoinError_Tags.Action, inner: refused });
  expect(await thrown(3)).toMatchObject({ tag: ffi.RejoinError_Tags.Callback });
  expect(await client.execute('UPDATE task SET n = 1 WHERE n = 0', [])).toBe(1n);
});

test('verdicts are told, and errors carry their rows', async () => {
  const client = await opened('add', add);
  const told: number[] = [];
  const subscription = client.watchVerdicts({ onVerdicts: ({ entries }) => void told.push(entries.length) });
  const id = (await client.pending())[0]?.id ?? '';
  expect(await client.edit(id, [{ sql: 'UPDATE task SET n = 5', params: [] }])).toBeDefined();
  const unsent: unknown = await client.reset(ffi.Keep.Nothing, []).catch((error: unknown) => error);
  expect(unsent).toMatchObject({ tag: ffi.RejoinError_Tags.Unsent, inner: { waiting: 1 } });
  const names = (await client.pending()).map((one) => one.id);
  expect(await client.reset(ffi.Keep.Nothing, names)).toMatchObject({ rows: 1n, givenUp: [{ id: names[0] }] });
  expect(await client.verdicts(10)).toEqual({ entries: [], missed: 0 });
  subscription.cancel();
  expect(told).toEqual([]);
});
