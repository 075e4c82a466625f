/** Devices with a real server: syncing, token providers, transports, slow readers, concurrent callers. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  fetchTransport,
  type HttpTransport,
  OfflineError,
  type RejoinClient,
  type RejoinConfig,
  RejoinError,
  type Services,
  type TokenFunction,
} from '../src/index';
import { StoryServer } from './support/server';
import { gate, opened, until, within } from './support/world';

let server: StoryServer;
let locked: StoryServer;
let users = 0;
beforeAll(async () => {
  [server, locked] = await Promise.all([StoryServer.start(), StoryServer.start({ tokens: true })]);
});
afterAll(async () => {
  await Promise.all([server.quit(), locked.quit()]);
});

const INSERT = 'INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)';
const TITLES = 'SELECT id, title FROM task ORDER BY id';
type Task = { id: string; title: string };

/** A new user, so that no test sees rows of another. */
const newUser = (): string => `user-${(users += 1)}`;

/** A device of a user with a bundled schema. */
function device(user: string, config: Partial<RejoinConfig> = {}, services: Services = {}): Promise<RejoinClient> {
  const { url, schema } = server;
  const more = { syncIntervalMs: 3_600_000, pushDebounceMs: 0, ...config };
  return opened({ server: url, schema, userId: user, ...more }, services);
}

const titles = async (client: RejoinClient): Promise<string[]> =>
  (await client.query<Task>(TITLES)).map(({ title }) => title);

describe('syncing', () => {
  test('watch and observer get remote changes', async () => {
    const user = newUser();
    const [phone, tablet] = [await device(user), await device(user)];
    const seen: string[][] = [];
    const origins: string[] = [];
    tablet.watch<Task>(TITLES, [], { onRows: (rows) => seen.push(rows.map(({ title }) => title)) });
    tablet.onChange(['task'], ({ origin }) => origins.push(origin));
    await phone.execute(INSERT, [`${user}-1`, user, 'from the phone']);
    await phone.sync.run();
    await tablet.sync.run();
    await until(() => seen.at(-1)?.[0] === 'from the phone', 'the watch gives it');
    await until(() => origins.includes('remote'), 'the observer gets the origin');
  });
});

describe('tokens', () => {
  test('faulty token provider stops only syncing', async () => {
    const user = newUser();
    const more = { server: locked.url, schema: locked.schema };
    const providers = {
      throws: () => Promise.reject(new Error('keychain is locked')),
      'throws undefined': () => Promise.reject(undefined as unknown as Error),
      'returns a number': () => Promise.resolve(7 as unknown as string),
      hangs: () => gate<string>().promise,
    };
    for (const [name, token] of Object.entries(providers)) {
      const phone = await device(user, more, { tokens: { token } });
      await phone.execute(INSERT, [`${user}-${name}`, user, name]);
      await expect(within(phone.sync.run(2_000), `syncing: the provider ${name}`)).rejects.toThrow(RejoinError);
      expect(await titles(phone), name).toContain(name);
      await within(phone.shutdown(), `shutting down: the provider ${name}`);
    }
  });

  test('token provider that is only a function syncs', async () => {
    const user = newUser();
    const asked: [refresh: boolean, aborted: boolean][] = [];
    const tokens: TokenFunction = (refresh, signal) => {
      asked.push([refresh, signal.aborted]);
      return locked.token(user);
    };
    const phone = await device(user, { server: locked.url, schema: locked.schema }, { tokens });
    await phone.execute(INSERT, [`${user}-1`, user, 'with a function']);
    expect((await within(phone.sync.run(), 'syncing')).accepted).toBe(1);
    expect(asked[0]).toEqual([false, false]);
  });
});

describe('transport of the app', () => {
  test('fetch transport syncs like the built-in one', async () => {
    const user = newUser();
    const sent: string[] = [];
    const real = fetchTransport();
    const transport: HttpTransport = {
      send(request, signal) {
        sent.push(`${request.method} ${request.url}`);
        return real.send(request, signal);
      },
      disconnect: () => real.disconnect?.(),
    };
    const phone = await device(user, {}, { transport });
    await phone.execute(INSERT, [`${user}-1`, user, 'by fetch: é😀']);
    expect((await within(phone.sync.run(), 'syncing')).accepted).toBe(1);
    expect(await server.rows(`SELECT title FROM task WHERE user_id = '${user}'`)).toEqual([['by fetch: é😀']]);
    expect(sent.every((line) => line.includes(server.url))).toBe(true);
    await phone.sync.suspend();
    await phone.sync.resume();
    await within(phone.sync.run(), 'syncing after a suspension');
  });

  test('error or invalid response of a transport is retried', async () => {
    const user = newUser();
    const real = fetchTransport();
    const faults: (() => Promise<never> | Promise<unknown>)[] = [
      () => Promise.reject(new Error('the line is cut')),
      () => Promise.reject(new OfflineError('no network')),
      () => Promise.reject(null as unknown as Error),
      () => Promise.resolve({ status: 'fine', headers: [], body: new Uint8Array() }),
      () => Promise.resolve({ status: 200, headers: [], body: 'text' }),
      () => Promise.resolve(undefined),
    ];
    const transport: HttpTransport = {
      send: (request, signal) => (faults.shift()?.() as Promise<never>) ?? real.send(request, signal),
    };
    const phone = await device(user, {}, { transport });
    await phone.execute(INSERT, [`${user}-1`, user, 'at last']);
    const failures: string[] = [];
    for (let round = 0; round < 20 && (await phone.queue.all()).length > 0; round += 1) {
      await within(phone.sync.run(), 'an attempt').catch((error: RejoinError) => failures.push(error.code));
    }
    expect(await phone.queue.all()).toEqual([]);
    expect(failures.length).toBeGreaterThan(0);
    expect(faults).toEqual([]);
  });

  test('fetch transport ends by timeout, disconnect and signal', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`;
    const request = { method: 'GET', url, headers: [], timeoutMs: 100 } satisfies Parameters<HttpTransport['send']>[0];
    const transport = fetchTransport();
    const never = new AbortController();
    await expect(within(transport.send(request, never.signal), 'timeout')).rejects.toThrow();
    const long = { ...request, timeoutMs: 60_000 };
    const cut = transport.send(long, never.signal);
    transport.disconnect?.();
    await expect(within(cut, 'disconnect')).rejects.toThrow();
    const aborted = transport.send(long, AbortSignal.timeout(20));
    await expect(within(aborted, 'abort')).rejects.toThrow();
    await expect(transport.send(long, AbortSignal.abort())).rejects.toThrow();
    silent.closeAllConnections();
    silent.close();
  });
});

test('slow reader of 1,000 changes skips to the latest', async () => {
  const user = newUser();
  const phone = await device(user);
  await phone.execute(INSERT, [`${user}-1`, user, '0']);
  const seen: number[] = [];
  const reading = (async () => {
    for await (const [task] of phone.watch<Task>('SELECT id, title FROM task')) {
      seen.push(Number(task?.title));
      if (seen.at(-1) === 1_000) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  for (let at = 1; at <= 1_000; at += 1) await phone.execute('UPDATE task SET title = ?', [String(at)]);
  await within(reading, 'the latest arrives');
  expect(seen.length).toBeLessThan(1_000);
  expect([...seen].sort((one, other) => one - other)).toEqual(seen);
});

test('exception in a callback does not affect the others', async () => {
  const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const user = newUser();
  const phone = await device(user);
  const own = new Error('own');
  const boom = (): never => {
    throw own;
  };
  let good = 0;
  phone.onChange([], boom);
  phone.onChange([], () => (good += 1));
  phone.onStatus(boom);
  phone.watch(TITLES, [], { onRows: boom, onError: boom });
  phone.watch(TITLES, [], { onRows: () => (good += 1) });
  await until(() => good === 1, 'the good watch starts');
  await expect(phone.transaction(boom)).rejects.toBe(own);
  await expect(phone.read(boom)).rejects.toBe(own);
  await phone.execute(INSERT, [`${user}-1`, user, 'fine']);
  await until(() => good === 3, 'the good ones get the change');
  expect((await within(phone.sync.run(), 'syncing')).accepted).toBe(1);
  expect(shown).toHaveBeenCalled();
  await phone.shutdown();
  shown.mockRestore();
});

test('100 concurrent callers all succeed', async () => {
  const user = newUser();
  const phone = await device(user);
  await phone.schema.createTable('tally', 'id INTEGER PRIMARY KEY, n INTEGER NOT NULL');
  await phone.execute('INSERT INTO tally VALUES (1, 0)');
  const caller = async (at: number): Promise<void> => {
    await phone.execute(INSERT, [`${user}-${at}`, user, `by ${at}`]);
    await phone.transaction(async (tx) => {
      const row = await tx.queryOne<{ n: number }>('SELECT n FROM tally');
      await tx.execute('UPDATE tally SET n = ?', [(row?.n ?? 0) + 1]);
    });
    const found = await phone.queryOne('SELECT title FROM task WHERE id = ?', [`${user}-${at}`]);
    expect(found).toEqual({ title: `by ${at}` });
    for await (const [row] of phone.watch<{ n: number }>('SELECT n FROM tally')) {
      if ((row?.n ?? 0) >= 100) break;
    }
  };
  await within(Promise.all(Array.from({ length: 100 }, (_, at) => caller(at))), 'a hundred callers', 60_000);
  expect(await phone.queryOne('SELECT n FROM tally')).toEqual({ n: 100 });
  expect((await within(phone.sync.run(), 'syncing')).accepted).toBe(100);
});
