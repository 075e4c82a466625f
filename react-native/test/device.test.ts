/** The device program of `tests/interop`, as the referee speaks with it. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StoryServer } from './support/server';
import { folder, within } from './support/world';

type Message = Record<string, unknown>;

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start({ tokens: true });
});
afterAll(() => server.quit());

const package_ = new URL('..', import.meta.url).pathname;

function device(): { order: (order: Message) => Promise<Message>; ended: Promise<number | null> } {
  const child = spawn(process.execPath, ['--import', 'tsx', 'interop/device.ts'], { cwd: package_ });
  child.stderr.pipe(process.stderr);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const order = async (message: Message): Promise<Message> => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    return JSON.parse(String((await within(lines.next(), `the device answers ${String(message['do'])}`)).value)) as Message;
  };
  return { order, ended };
}

test('it carries out every order, and rounds no value', async () => {
  const { order, ended } = device();
  const path = join(folder(), 'a.db');
  const schema: unknown = JSON.parse(server.schemaJson);
  const open = { do: 'open', path, url: server.url, user: 'u1', token: await server.token('u1'), schema };
  expect(await order({ do: 'rows', sql: 'SELECT 1' })).toMatchObject({ error: 'Other' });
  expect(await order(open)).toEqual({ ok: true });
  const cells = [null, { i: '-9223372036854775808' }, { i: '1' }, { r: '3ff0000000000000' }, { r: '8000000000000000' }, 'é', { b: '00ff' }];
  const answer = await order({ do: 'rows', sql: 'SELECT ? AS a, ? AS a, ?, ?, ?, ?, ?', params: cells });
  expect(answer['rows']).toEqual([cells]);
  expect((answer['columns'] as string[]).slice(0, 2)).toEqual(['a', 'a']);

  const insert = 'INSERT INTO sample (id, user_id, number, measure) VALUES (?, ?, ?, ?)';
  const statements = (id: string): Message[] => [{ sql: insert, params: [id, 'u1', { i: '1' }, { r: '3ff0000000000000' }] }];
  expect(await order({ do: 'exec', ...statements('1')[0] })).toEqual({ changes: 1 });
  expect(await order({ do: 'batch', statements: [...statements('2'), ...statements('3')] })).toEqual({ changes: [1, 1] });
  expect(await order({ do: 'batch', statements: statements('2') })).toMatchObject({ error: 'Constraint' });
  expect(await order({ do: 'fail', statements: statements('4') })).toEqual({ thrown: true });
  expect(await order({ do: 'exec', sql: 'nonsense' })).toMatchObject({ error: 'InvalidInput' });
  const { pending } = await order({ do: 'pending' });
  expect((pending as Message[]).map(({ state, reason }) => [state, reason])).toEqual([['pending', null], ['pending', null]]);
  expect((pending as { rows: { columns: unknown[] }[] }[])[0]?.rows[0]?.columns).toContainEqual({
    name: 'measure',
    old: null,
    new: { r: '3ff0000000000000' },
  });
  expect(await order({ do: 'sync' })).toMatchObject({ accepted: 2, parked: 0, still_pending: 0 });
  expect(await server.rows('SELECT id, number, measure FROM sample ORDER BY id')).toEqual([['1', 1, 1], ['2', 1, 1], ['3', 1, 1]]);
  expect(await order({ do: 'hold', statements: statements('5') })).toEqual({ held: true });
  expect(await order({ do: 'rows', sql: 'SELECT count(*) AS n FROM sample' })).toMatchObject({ rows: [[{ i: '3' }]] });
  expect(await order({ do: 'close' })).toEqual({ ok: true });
  expect(await order(open)).toEqual({ ok: true });
  expect(await order({ do: 'rows', sql: 'SELECT count(*) AS n FROM sample' })).toMatchObject({ rows: [[{ i: '3' }]] });
  expect(await order({ do: 'quit' })).toEqual({ ok: true });
  expect(await within(ended, 'it ends')).toBe(0);
});
