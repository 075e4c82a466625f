/** The client on the real engine without a server: success and failure of each method. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import {
  type Change,
  ClosedError,
  ConfigurationError,
  ConstraintError,
  InvalidInputError,
  real,
  RejoinClient,
  RejoinConfig,
  type SyncStatus,
} from '../src/index';
import { lowerTimeout } from '../src/config';
import { count, folder, gate, INSERT, opened, until, within, withTasks } from './support/world';

describe('opening', () => {
  test('invalid configuration is refused with every problem', async () => {
    const wrong = RejoinClient.open({ path: `${folder()}/a.db`, readers: 99, pageSize: 1 });
    await expect(wrong).rejects.toThrow(ConfigurationError);
    await expect(wrong).rejects.toThrow(/readers[^]*page_size|page_size[^]*readers/);
    await expect(RejoinClient.open({ path: 'a.db', readers: 1.5, walLimit: -1 })).rejects.toThrow(/readers.*walLimit/);
    await expect(RejoinClient.open({ path: 'a.db', ackDeadlineMs: -0.5, syncIntervalMs: NaN, pushDebounceMs: 2 ** 32 })).rejects.toThrow(
      /^configuration: syncIntervalMs is NaN.*; pushDebounceMs is 4294967296.*; ackDeadlineMs is -0\.5/,
    );
    // Rounded up to one millisecond, which the engine rejects as too short.
    await expect(RejoinClient.open({ path: `${folder()}/a.db`, transactionIdleMs: 0.5 })).rejects.toThrow(/transaction_idle/);
    await expect(RejoinClient.open({ path: 'a.db', metered: 'some' as never })).rejects.toThrow(/metered is some/);
    await expect(RejoinClient.open({} as never)).rejects.toThrow(ConfigurationError);
  });

  test('temporary files are separate and removed at shutdown', async () => {
    const [client, other] = [await withTasks(RejoinConfig.temporary()), await withTasks(RejoinConfig.temporary())];
    await client.execute(INSERT, ['t1', 'text']);
    expect([await count(client), await count(other)]).toEqual([1, 0]);
    for (const device of [client, other]) {
      expect(existsSync(device.path)).toBe(true);
      await device.shutdown();
      expect(existsSync(dirname(device.path))).toBe(false);
    }
  });

  test('negative timeout is refused and fractions are rounded up', async () => {
    const client = await opened();
    for (const timeout of [-1, -0.001, -Infinity, NaN, 'soon' as never]) {
      await expect(client.sync.run(timeout)).rejects.toThrow(InvalidInputError);
      await expect(client.sync.firstSync(timeout)).rejects.toThrow(/^a timeout of /);
      await expect(client.queue.verdict('x', timeout)).rejects.toThrow(/^a timeout of /);
    }
    const cases: [number | undefined, number | undefined][] = [
      [undefined, undefined],
      [Infinity, undefined],
      [0, 0],
      [0.000001, 1],
      [1, 1],
      [1.000001, 2],
      [2 ** 40, 2 ** 32 - 1],
    ];
    for (const [given, millis] of cases) expect(lowerTimeout(given)).toBe(millis);
  });
});

describe('reading and writing', () => {
  test('every kind of value is read back unchanged', async () => {
    const client = await opened();
    const values = [null, true, false, 0, -0, 1, -1, 1.5, 1e300, 5e-324, Infinity, -Infinity, 2 ** 53 - 1, 2n ** 53n];
    const more = [-(2n ** 63n), 2n ** 63n - 1n, '', 'a', 'é日本😀', 'a\u0000b', '\ufeffx', new Uint8Array(0), new Uint8Array([0, 255])];
    for (const value of [...values, ...more]) {
      const row = await client.queryOne<{ v: unknown; t: string }>('SELECT ?1 AS v, typeof(?1) AS t', [value]);
      const expected = typeof value === 'boolean' ? Number(value) : value;
      expect(row?.v, String(value)).toEqual(expected);
      if (Object.is(value, -0)) expect(Object.is(row?.v, -0) && row?.t === 'real').toBe(true);
    }
    const types = await client.queryOne('SELECT typeof(?) a, typeof(?) b, typeof(?) c, typeof(?) d', [1, real(1), 2 ** 53, 2n ** 53n]);
    expect(types).toEqual({ a: 'integer', b: 'real', c: 'real', d: 'integer' });
  });

  test('unsupported value is refused by name', async () => {
    const client = await opened();
    const wrong: [unknown, RegExp][] = [
      [undefined, /parameter 1 is undefined/],
      [Number.NaN, /parameter 1 is NaN/],
      [real(Number.NaN), /NaN/],
      [2n ** 63n, /64 bits/],
      ['\ud800', /half a surrogate pair/],
      [new Date(0), /a Date/],
      [{}, /an? Object/],
      [Symbol('s'), /symbol|Symbol/],
      [[1], /an? Array/],
    ];
    for (const [value, message] of wrong) {
      const refused = client.query('SELECT ?', [value as never]);
      await expect(refused).rejects.toThrow(InvalidInputError);
      await expect(refused).rejects.toThrow(message);
    }
    for (const params of [{ id: 1 }, 'id', null]) {
      await expect(client.query('SELECT :id', params as never)).rejects.toThrow(/parameters are an array/);
    }
    await expect(client.execute(1 as never)).rejects.toThrow(/a statement is a string/);
    await expect(client.query('SELECT ?', [1, 2])).rejects.toThrow(InvalidInputError);
  });

  test('query, queryOne and rows return the same rows', async () => {
    const client = await withTasks();
    await client.execute(INSERT, ['1', 'milk']);
    await client.execute(INSERT, ['2', 'bread']);
    const sql = 'SELECT id, title FROM task WHERE id >= ? ORDER BY id';
    const all = await client.query<{ id: string; title: string }>(sql, ['1']);
    expect(all.map(({ title }) => title)).toEqual(['milk', 'bread']);
    expect(await client.queryOne(sql, ['2'])).toEqual({ id: '2', title: 'bread' });
    expect(await client.queryOne(sql, ['3'])).toBeUndefined();
    const rows = await client.rows(sql, ['1']);
    expect([rows.length, rows.columns, rows.cell(1, 'title')]).toEqual([2, ['id', 'title'], 'bread']);
    const [first, second] = await client.queryMany([{ sql, params: ['2'] }, { sql: 'SELECT count(*) AS n FROM task' }]);
    expect([first?.toArray(), second?.toArray()]).toEqual([[{ id: '2', title: 'bread' }], [{ n: 2 }]]);
  });

  test('integer mode of the call overrides the configuration', async () => {
    const client = await opened({ integers: 'bigint' });
    expect(await client.queryOne('SELECT 1 AS n')).toEqual({ n: 1n });
    expect(await client.queryOne('SELECT 1 AS n', [], { integers: 'auto' })).toEqual({ n: 1 });
    await expect(client.query('SELECT 9007199254740993 AS n', [], { integers: 'number' })).rejects.toThrow(/would round/);
  });

  test('write methods return what they changed', async () => {
    const client = await withTasks();
    await client.executeScript("INSERT INTO task VALUES ('1', 'a', 1); INSERT INTO task VALUES ('2', 'b', 2)");
    expect(await client.execute('UPDATE task SET rank = rank + 1')).toBe(2);
    expect(await client.executeReturning('DELETE FROM task WHERE id = ? RETURNING title', ['1'])).toEqual([{ title: 'a' }]);
    expect(await client.batch([{ sql: INSERT, params: ['3', 'c'] }, { sql: 'DELETE FROM task' }])).toEqual([1, 2]);
    expect(await count(client)).toBe(0);
  });

  test('constraint error names table, column and rule', async () => {
    const client = await withTasks();
    await client.execute(INSERT, ['1', 'a']);
    const error = await client.execute(INSERT, ['1', 'b']).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ConstraintError);
    expect(error).toMatchObject({ code: 'Constraint', name: 'ConstraintError', table: 'task', column: 'id', rule: 'UNIQUE' });
    expect((error as Error).stack).toContain('client.test');
  });
});

describe('observers', () => {
  test('observer gets changes of its tables until cancelled', async () => {
    const client = await withTasks();
    await client.schema.createTable('other', 'id TEXT PRIMARY KEY');
    const received: Change[] = [];
    const subscription = client.onChange(['task'], (change) => received.push(change));
    await client.execute("INSERT INTO other VALUES ('1')");
    await client.execute(INSERT, ['1', 'a']);
    await until(() => received.length === 1, 'the change is reported');
    expect(received).toEqual([{ origin: 'local', tables: [{ name: 'task' }], queue: false }]);
    subscription.cancel();
    expect(subscription.isCancelled).toBe(true);
    subscription.cancel();
    await client.execute(INSERT, ['2', 'b']);
    await client.shutdown();
    expect(received.length).toBe(1);
  });

  test('observer error is printed and the observer called again', async () => {
    const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const client = await withTasks();
    let calls = 0;
    client.onChange([], () => {
      calls += 1;
      if (calls === 1) throw new Error('at once');
      return Promise.reject(new Error('later'));
    });
    await client.execute(INSERT, ['1', 'a']);
    await until(() => calls === 1, 'the first call');
    await client.execute(INSERT, ['2', 'b']);
    await until(() => shown.mock.calls.length === 2, 'both are printed');
    expect(shown.mock.calls.map(([, error]) => (error as Error).message)).toEqual(['at once', 'later']);
    shown.mockRestore();
  });

  test('status observer gets the current and each later status', async () => {
    // No server listens at this address.
    const client = await opened({ server: 'http://127.0.0.1:9', userId: 'u1' });
    const received: SyncStatus[] = [];
    client.onStatus((status) => received.push(status));
    await until(() => received.length > 0, 'the current status');
    expect(received[0]).toEqual({ state: { kind: 'idle' }, firstSync: 'absent', leftOut: [] });
    await client.start();
    await until(() => received.at(-1)?.state.kind === 'offline', 'the status is offline');
    expect(client.status()).toEqual(received.at(-1));
    await client.sync.suspend();
    await until(() => received.at(-1)?.state.kind === 'suspended', 'the status is suspended');
    await client.sync.resume();
    await client.shutdown();
    expect(client.status()).toEqual({ state: { kind: 'stopped' }, firstSync: 'absent', leftOut: [] });
  });

  test('observer survives garbage collection', async () => {
    const client = await withTasks();
    let calls = 0;
    client.onChange([], () => (calls += 1));
    (globalThis as { gc?: () => void }).gc?.();
    await client.execute(INSERT, ['1', 'a']);
    await until(() => calls === 1, 'it is called');
  });
});

describe('shutdown', () => {
  test('calls after shutdown fail and a second shutdown succeeds', async () => {
    const client = await withTasks();
    await Promise.all([client.shutdown(), client.shutdown()]);
    await client.shutdown();
    const calls: (() => unknown)[] = [
      () => client.query('SELECT 1'),
      () => client.execute(INSERT, ['1', 'a']),
      () => client.transaction(() => 1),
      () => client.read(() => 1),
      () => client.queue.all(),
      () => client.start(),
      () => client.sync.suspend(),
      async () => client.onChange([], () => undefined),
      async () => client.onStatus(() => undefined),
      async () => client.sync.setNetwork({ online: true }),
      async () => client.sync.foreground(),
      () => client.watch('SELECT 1')[Symbol.asyncIterator]().next(),
    ];
    for (const call of calls) await expect(within(Promise.resolve(call()), String(call))).rejects.toThrow(ClosedError);
  });

  test('writes made before shutdown complete', async () => {
    const client = await withTasks();
    const path = client.path;
    const writes = Array.from({ length: 20 }, (_, at) => client.execute(INSERT, [String(at), 'x']));
    const end = client.shutdown();
    expect(await Promise.all(writes)).toEqual(writes.map(() => 1));
    await end;
    const again = await opened({ path });
    expect(await count(again)).toBe(20);
  });
});

describe('snapshot', () => {
  test('rethrows the error of its body and ends with it', async () => {
    const client = await withTasks();
    const own = new Error('own');
    await expect(client.read(() => Promise.reject(own))).rejects.toBe(own);
    let kept: { query: (sql: string) => Promise<unknown> } | undefined;
    await client.read((snapshot) => void (kept = snapshot));
    await expect(kept?.query('SELECT 1')).rejects.toThrow(/the snapshot has ended/);
  });

  test('ends at once when its signal is aborted', async () => {
    const client = await withTasks();
    const controller = new AbortController();
    const reading = client.read(() => gate().promise, { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(within(reading, 'the aborted snapshot')).rejects.toThrow('enough');
  });
});
