/** Declared actions and handlers on one device: arguments, errors and cancellation. */
import { describe, expect, expectTypeOf, test, vi } from 'vitest';
import {
  ActionContext,
  ActionError,
  Actions,
  CallbackError,
  ClosedError,
  ConfigurationError,
  ConstraintError,
  InvalidInputError,
  type Json,
  type RejoinClient,
  SuspendedError,
  TransactionTimeoutError,
} from '../src/index';
import { nails, STOCK, withStock } from './support/synced';
import { gate, opened, until, within } from './support/world';

const caught = (promise: Promise<unknown>, what = 'it fails'): Promise<unknown> =>
  within(promise, what).then(
    () => 'no error',
    (error: unknown) => error,
  );

const TAKE = {
  name: 'take',
  parameters: [{ name: 'id', type: 'text' }, { name: 'n', type: 'integer' }],
  preconditions: [{ sql: 'SELECT n >= :n FROM stock WHERE id = :id', message: 'not enough in stock' }],
  statements: ['UPDATE stock SET n = n - :n WHERE id = :id'],
  result: 'SELECT n AS left FROM stock WHERE id = :id',
} as const;

/** The number of pending mutations. */
const pendingCount = async (client: RejoinClient): Promise<number> => (await client.queue.all()).length;

describe('declared action', () => {
  test('given as JSON refuses with its message', async () => {
    const client = await withStock({ actions: new Actions().declare(JSON.stringify(TAKE)) });
    const cases: [string, Record<string, number | string>, object][] = [
      ['take', { id: 'nails', n: 9 }, { fault: 'refused', detail: 'not enough in stock' }],
      ['take', { id: 'nails' }, { fault: 'arguments', detail: 'n is missing' }],
      ['take', { id: 'nails', n: 2 ** 60 }, { fault: 'arguments', detail: 'n is no integer of 64 bits' }],
      ['give', {}, { fault: 'unknown', detail: '' }],
    ];
    for (const [name, args, data] of cases) {
      const error = await caught(client.perform(name, args));
      expect(error).toBeInstanceOf(ActionError);
      expect(error).toMatchObject({ code: 'Action', name: 'ActionError', action: name, ...data });
    }
    expect(await nails(client)).toBe(5);
    expect(await pendingCount(client)).toBe(1);
  });
});

describe('action handler', () => {
  test('gets typed arguments and returns any JSON value', async () => {
    const args = { text: 'é😀"\\', integer: 7, real: 1, boolean: true, time: new Date(0), blob: new Uint8Array([0, 255, 7]), json: { a: [1, 2n ** 60n, null] } };
    const actions = new Actions().handler(
      {
        name: 'look',
        parameters: [
          { name: 'text', type: 'text' },
          { name: 'integer', type: 'integer' },
          { name: 'real', type: 'real' },
          { name: 'boolean', type: 'boolean' },
          { name: 'time', type: 'time' },
          { name: 'blob', type: 'blob' },
          { name: 'json', type: 'json' },
          { name: 'note', type: 'text', optional: true },
        ],
        integers: 'auto',
      },
      (context, given) => {
        expectTypeOf(given.text).toEqualTypeOf<string>();
        expectTypeOf(given.integer).toEqualTypeOf<number | bigint>();
        expectTypeOf(given.blob).toEqualTypeOf<Uint8Array>();
        expectTypeOf(given.json).toEqualTypeOf<Json>();
        expectTypeOf(given.note).toEqualTypeOf<string | undefined>();
        expect(context).toBeInstanceOf(ActionContext);
        expect(given).toEqual({ ...args, time: '1970-01-01T00:00:00.000Z' });
        return { ...given, none: undefined };
      },
    );
    const client = await withStock({ actions });
    const { value } = await client.perform('look', { ...args, note: undefined });
    expect(value).toEqual({ ...args, time: '1970-01-01T00:00:00.000Z', blob: 'AP8H' });
  });

  test('gets exact arguments or does not run', async () => {
    let runs = 0;
    const n = [{ name: 'n', type: 'integer' }] as const;
    const actions = new Actions()
      .handler({ name: 'exact', parameters: n, integers: 'bigint' }, (_, given) => (expectTypeOf(given.n).toEqualTypeOf<bigint>(), given.n + 1n))
      .handler({ name: 'number', parameters: n }, (_, given) => (expectTypeOf(given.n).toEqualTypeOf<number>(), (runs += 1), given.n));
    const client = await withStock({ actions });
    expect((await client.perform('exact', { n: 2n ** 62n })).value).toBe(2n ** 62n + 1n);
    expect((await client.perform('number', { n: 7 })).value).toBe(7);
    expect(await caught(client.perform('number', { n: 2n ** 62n }))).toMatchObject({ code: 'Callback', message: expect.stringContaining('would round') });
    expect(runs).toBe(1);
    for (const [given, what] of [[NaN, 'NaN'], [undefined as never, 'n is missing'], [new Map() as never, 'a Map'], ['\ud800', 'surrogate']] as const) {
      expect(await caught(client.perform('number', { n: given }))).toMatchObject({ message: expect.stringContaining(what) });
    }
    expect(runs).toBe(1);
  });

  test('reads and writes in its transaction with fixed time and ids', async () => {
    const before = Date.now();
    const actions = new Actions().identity('stock', ['note']).handler({ name: 'make', parameters: [{ name: 'note', type: 'text' }] }, async (context, { note }) => {
      const id = await context.rowId('stock', { note });
      expect(await context.execute('INSERT INTO stock (id, n, note) VALUES (?, ?, ?)', [id, 1, note])).toBe(1);
      expect(await context.executeReturning('UPDATE stock SET n = n + 1 WHERE id = ? RETURNING n', [id])).toEqual([{ n: 2 }]);
      expect(await context.queryOne('SELECT rejoin_now() AS now')).toEqual({ now: context.time });
      expect((await context.rows('SELECT id FROM stock')).length).toBe(2);
      expect(Date.parse(context.time)).toBe(context.timeMs);
      return { id, mutation: context.mutationId, time: context.timeMs };
    });
    const client = await withStock({ actions });
    const made = await client.perform<{ id: string; mutation: string; time: number }>('make', { note: 'x' });
    expect(made.value.mutation).toBe(made.id);
    expect(Math.abs(made.value.time - before)).toBeLessThan(60_000);
    expect(await client.queryOne('SELECT n FROM stock WHERE id = ?', [made.value.id])).toEqual({ n: 2 });
    const again = await client.perform<{ id: string }>('make', { note: 'x' }).catch((error: unknown) => error);
    expect(again, 'a second action inserts another row, so the check for two rows fails').toBeInstanceOf(CallbackError);
  });

  test('derives row ids from the projection of a table', async () => {
    const actions = new Actions()
      .identity('STOCK', ['by'])
      .projection('Stock', ({ at }) => {
        if (typeof at !== 'string') throw new TypeError('no day');
        return { day: at.slice(0, 3) };
      })
      .handler({ name: 'make' }, async (context) => {
        for (const at of ['monday', 'tuesday']) await context.execute('INSERT INTO stock (id) VALUES (?)', [await context.rowId('stock', { at, by: 1 })]);
      })
      .handler({ name: 'twice' }, async (context) => {
        for (const at of ['monday', 'mon']) await context.rowId('stock', { at });
      })
      .handler({ name: 'wrong' }, (context) => context.rowId('STOCK', { by: 1 }));
    const client = await withStock({ actions });
    await client.perform('make');
    expect(await client.query('SELECT id FROM stock')).toHaveLength(3);
    expect(await caught(client.perform('twice'))).toMatchObject({ code: 'Action', fault: 'same-row' });
    expect(await caught(client.perform('wrong'))).toMatchObject({ code: 'Callback', cause: new TypeError('no day') });
  });
});

describe('error in a handler', () => {
  const OWN = new TypeError('own');
  const THROWS: Record<string, (context: ActionContext) => unknown> = {
    'at once': () => {
      throw OWN;
    },
    'later': () => Promise.reject(OWN),
    'non-error': () => Promise.reject('words' as unknown as Error),
    'undefined': () => Promise.reject(undefined as unknown as Error),
    'returns no JSON': () => () => 1,
    'refuses': (context) => context.refuse('too late'),
    'throws a refusal': () => Promise.reject(new ActionError('', { action: '', fault: 'refused', detail: 'by hand' })),
    'rethrows a constraint error': (context) => context.execute("INSERT INTO stock (id) VALUES ('nails')"),
    'rethrows an SQL error': (context) => context.query('SELEC'),
    'binds an invalid value': (context) => context.query('SELECT ?', [undefined as never]),
  };

  test('rolls the action back and reaches the caller', async () => {
    const actions = new Actions().handler({ name: 'try', parameters: [{ name: 'how', type: 'text' }] }, async (context, { how }) => {
      await context.execute('UPDATE stock SET n = 0');
      return THROWS[how]?.(context);
    });
    const client = await withStock({ actions });
    const errorOf = async (how: string): Promise<unknown> => caught(client.perform('try', { how }), how);
    for (const how of ['at once', 'later']) {
      const error = (await errorOf(how)) as CallbackError;
      expect(error).toBeInstanceOf(CallbackError);
      expect([error.message, error.cause]).toEqual([expect.stringContaining('own'), OWN]);
    }
    expect(await errorOf('non-error')).toMatchObject({ code: 'Callback', cause: 'words' });
    expect(await errorOf('undefined')).toMatchObject({ code: 'Callback', message: expect.stringContaining('undefined') });
    expect(await errorOf('returns no JSON')).toMatchObject({ code: 'Callback', cause: { message: expect.stringContaining('a function') } });
    expect(await errorOf('refuses')).toMatchObject({ code: 'Action', fault: 'refused', detail: 'too late', action: 'try', message: 'action try: too late' });
    expect(await errorOf('throws a refusal')).toMatchObject({ code: 'Action', fault: 'refused', detail: 'by hand', action: 'try' });
    expect(await errorOf('rethrows a constraint error')).toBeInstanceOf(ConstraintError);
    expect(await errorOf('rethrows a constraint error')).toMatchObject({ table: 'stock', column: 'id' });
    expect(await errorOf('rethrows an SQL error')).toBeInstanceOf(InvalidInputError);
    expect(await errorOf('binds an invalid value')).toMatchObject({ code: 'Callback', cause: { code: 'InvalidInput' } });
    expect(await nails(client)).toBe(5);
    expect(await pendingCount(client)).toBe(1);
    expect((await client.perform('try', { how: 'well' })).value).toBeNull();
  });
});

describe('handler cancellation', () => {
  test('hanging handler is cancelled by the idle timeout', async () => {
    let kept: ActionContext | undefined;
    let aborted = false;
    const actions = new Actions().handler({ name: 'hang' }, async (context) => {
      kept = context;
      context.signal.addEventListener('abort', () => (aborted = true));
      await context.execute('UPDATE stock SET n = 0');
      await gate().promise;
    });
    const client = await withStock({ actions }, { transactionIdleMs: 200 });
    expect(await caught(client.perform('hang'), 'it is cancelled')).toMatchObject({ code: 'Action', fault: 'timed-out' });
    expect(await nails(client)).toBe(5);
    await within(client.execute('UPDATE stock SET n = 4'), 'a waiting write runs');
    await until(() => aborted, 'the signal is aborted');
    expect(await caught(kept?.execute('UPDATE stock SET n = 1') ?? Promise.resolve())).toBeInstanceOf(TransactionTimeoutError);
    expect(await nails(client)).toBe(4);
  });

  test('context of an ended handler refuses calls', async () => {
    let kept: ActionContext | undefined;
    const client = await withStock({ actions: new Actions().handler({ name: 'keep' }, (context) => void (kept = context)) });
    await client.perform('keep');
    expect(await caught(kept?.query('SELECT 1') ?? Promise.resolve())).toMatchObject({ code: 'InvalidInput', message: expect.stringContaining('has ended') });
  });

  test('client write in a handler runs after the idle timeout', async () => {
    const writes: Promise<unknown>[] = [];
    const actions = new Actions().handler({ name: 'inside' }, async (context) => {
      await context.execute('UPDATE stock SET n = 0');
      expect(await nails(client), 'a read through the client sees the state before').toBe(5);
      expect(await client.read((snapshot) => snapshot.query('SELECT n FROM stock'))).toEqual([{ n: 5 }]);
      writes.push(client.execute('UPDATE stock SET n = 4'), client.perform('other').catch((error: unknown) => error));
      await Promise.all(writes);
    });
    actions.handler({ name: 'other' }, (context) => context.execute('UPDATE stock SET n = n - 1'));
    const client: RejoinClient = await withStock({ actions }, { transactionIdleMs: 200 });
    expect(await caught(client.perform('inside'), 'inside')).toMatchObject({ code: 'Action', fault: 'timed-out' });
    await within(Promise.all(writes), 'the writes started inside');
    expect(await nails(client)).toBe(3);
  });

  test('suspend and shutdown do not wait for a handler', async () => {
    const begun = gate();
    const actions = new Actions().handler({ name: 'busy' }, async (context) => {
      await context.execute('UPDATE stock SET n = 0');
      for (;;) {
        begun.open();
        await context.query('SELECT 1'); // Never idle.
      }
    });
    const client = await withStock({ actions });
    const first = caught(client.perform('busy'));
    await begun.promise;
    await within(client.sync.suspend(), 'suspend');
    expect(await first).toBeInstanceOf(SuspendedError);
    expect(await caught(client.perform('busy'))).toBeInstanceOf(SuspendedError);
    await client.sync.resume();
    expect(await nails(client)).toBe(5);
    const second = caught(client.perform('busy'));
    await until(async () => within(client.query('SELECT 1'), 'a read').then(() => true), 'it runs');
    await within(client.shutdown(), 'shutdown');
    expect(await second).toBeInstanceOf(ClosedError);
    expect(await caught(client.perform('busy'))).toBeInstanceOf(ClosedError);
  });
});

test('concurrent_actions_and_queries_all_end', async () => {
  const client = await withStock({ actions: new Actions().handler({ name: 'add' }, (context) => context.execute('UPDATE stock SET n = n + 1')) });
  const calls = Array.from({ length: 200 }, (_, at) => [client.perform('add'), nails(client), at % 10 === 0 ? client.queue.counts() : undefined]);
  await within(Promise.all(calls.flat()), 'all calls');
  expect(await nails(client)).toBe(205);
});

describe('registration', () => {
  test('opening reports all invalid definitions together', async () => {
    const actions = new Actions().declare({ name: 'empty', statements: [] }).handler({ name: '' }, () => 1);
    const error = await caught(opened({}, { actions }));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as Error).message).toMatch(/it has no statement[^]*needs a name|needs a name[^]*it has no statement/);
    const unknown = new Actions().declare({ ...TAKE, mispelt: 1 } as never);
    expect(await caught(opened({ schema: STOCK }, { actions: unknown }))).toMatchObject({ code: 'Configuration', message: expect.stringContaining('mispelt') });
    expect(() => new Actions().handler({ name: 'x', parameters: [{ name: 'a', type: 'date' as never }] }, () => 1)).toThrow(ConfigurationError);
    expect(() => new Actions().handler({ name: 'x', version: 1.5 }, () => 1)).toThrow(/1\.5 is no version/);
    expect(() => new Actions().handler({ name: 'x' }, undefined as never)).toThrow(InvalidInputError);
    expect(() => new Actions().declare({ name: 'x', statements: [undefined as never] })).toThrow(InvalidInputError);
  });

  test('newer version upgrades the arguments of the older', async () => {
    const old = new Actions().handler({ name: 'annotate', parameters: [{ name: 'word', type: 'text' }, { name: 'gone', type: 'text' }] }, (context, { word }) =>
      context.execute('UPDATE stock SET note = ?', [word]),
    );
    const before = await withStock({ actions: old });
    const [first] = await before.queue.all();
    await before.perform('annotate', { word: 'hello', gone: '' });
    await before.shutdown();
    const seen: object[] = [];
    const parameters = [{ name: 'text', type: 'text' }, { name: 'loud', type: 'boolean' }, { name: 'data', type: 'blob' }] as const;
    const upgrades = { 1: { rename: { word: 'text' }, set: { loud: true, data: new Uint8Array([1]) }, drop: ['gone'] } };
    const actions = new Actions().handler({ name: 'annotate', version: 2, parameters, upgrades }, (context, given) => {
      seen.push(given);
      return context.execute('UPDATE stock SET note = ?', [given.text.toUpperCase()]);
    });
    const after = await withStock({ actions }, { path: before.path });
    expect(await after.queryOne('SELECT note FROM stock')).toEqual({ note: 'hello' });
    // Editing the mutation that it depends on makes it run again.
    await after.queue.edit(first?.id ?? '', [{ sql: 'UPDATE stock SET n = ?', params: [6] }]);
    expect(seen).toEqual([{ text: 'hello', loud: true, data: new Uint8Array([1]) }]);
    expect(await after.queryOne('SELECT n, note FROM stock')).toEqual({ n: 6, note: 'HELLO' });
  });

  test('failure of an un-awaited call rejects its promise', async () => {
    const shown = vi.fn();
    const actions = new Actions().handler({ name: 'forget' }, (context) => {
      void context.execute('UPDATE stock SET n = 7').catch(shown);
      void context.execute('SELEC').catch(shown);
    });
    const client = await withStock({ actions });
    await client.perform('forget');
    await until(() => shown.mock.calls.length === 1, 'the failure is reported');
    expect(await nails(client), 'a call made before the end is done').toBe(7);
  });

  test('shutdown releases handlers', async () => {
    const used = async (): Promise<WeakRef<object>> => {
      const kept = {};
      const client = await withStock({ actions: new Actions().handler({ name: 'use' }, () => (void kept, 1)) });
      await client.perform('use');
      await client.shutdown();
      return new WeakRef(kept);
    };
    const kept = await used();
    const collected = (): boolean => {
      (globalThis as { gc?: () => void }).gc?.();
      // An engine without `gc` collects when enough was allocated.
      Array.from({ length: 20_000 }, () => ({}));
      return kept.deref() === undefined;
    };
    await until(collected, 'it is collected');
  });
});
