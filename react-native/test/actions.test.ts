/** Actions on one device, as data and as code: what they are given, what they may throw, and who ends them. */
import { describe, expect, expectTypeOf, test, vi } from 'vitest';
import {
  ActionContext,
  ActionError,
  Actions,
  CallbackError,
  ConfigurationError,
  ConstraintError,
  EndedError,
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

/** How many mutations wait. */
const waiting = async (client: RejoinClient): Promise<number> => (await client.pending()).length;

describe('an action that is data', () => {
  test('may be given as JSON, and refuses in its own words', async () => {
    const client = await withStock({ actions: new Actions().declare(JSON.stringify(TAKE)) });
    const cases: [string, Record<string, number | string>, object][] = [
      ['take', { id: 'nails', n: 9 }, { fault: 'refused', words: 'not enough in stock' }],
      ['take', { id: 'nails' }, { fault: 'arguments', words: 'n is missing' }],
      ['take', { id: 'nails', n: 2 ** 60 }, { fault: 'arguments', words: 'n is no integer of 64 bits' }],
      ['give', {}, { fault: 'unknown', words: '' }],
    ];
    for (const [name, args, data] of cases) {
      const error = await caught(client.perform(name, args));
      expect(error).toBeInstanceOf(ActionError);
      expect(error).toMatchObject({ code: 'Action', name: 'ActionError', action: name, ...data });
    }
    expect(await nails(client)).toBe(5);
    expect(await waiting(client)).toBe(1);
  });
});

describe('an action that is code', () => {
  test('is given its arguments by their types, and gives back what it likes', async () => {
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

  test('knows its arguments exactly, or is not run', async () => {
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

  test('reads and writes in its transaction, at one time, with ids of its own', async () => {
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
    expect(again, 'another action makes another row, and the code found three').toBeInstanceOf(CallbackError);
  });

  test('makes ids of rows of what a projection makes of them', async () => {
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

describe('whatever code throws', () => {
  const OWN = new TypeError('own');
  const THROWS: Record<string, (context: ActionContext) => unknown> = {
    'at once': () => {
      throw OWN;
    },
    'later': () => Promise.reject(OWN),
    'no error': () => Promise.reject('words' as unknown as Error),
    'nothing': () => Promise.reject(undefined as unknown as Error),
    'gives no JSON': () => () => 1,
    'refuses': (context) => context.refuse('too late'),
    'refuses by an error': () => Promise.reject(new ActionError('', { action: '', fault: 'refused', words: 'by hand' })),
    'passes a rule on': (context) => context.execute("INSERT INTO stock (id) VALUES ('nails')"),
    'passes bad SQL on': (context) => context.query('SELEC'),
    'binds what cannot be': (context) => context.query('SELECT ?', [undefined as never]),
  };

  test('nothing of it is kept, and who performed it learns what it was', async () => {
    const actions = new Actions().handler({ name: 'try', parameters: [{ name: 'how', type: 'text' }] }, async (context, { how }) => {
      await context.execute('UPDATE stock SET n = 0');
      return THROWS[how]?.(context);
    });
    const client = await withStock({ actions });
    const told = async (how: string): Promise<unknown> => caught(client.perform('try', { how }), how);
    for (const how of ['at once', 'later']) {
      const error = (await told(how)) as CallbackError;
      expect(error).toBeInstanceOf(CallbackError);
      expect([error.message, error.cause]).toEqual([expect.stringContaining('own'), OWN]);
    }
    expect(await told('no error')).toMatchObject({ code: 'Callback', cause: 'words' });
    expect(await told('nothing')).toMatchObject({ code: 'Callback', message: expect.stringContaining('undefined') });
    expect(await told('gives no JSON')).toMatchObject({ code: 'Callback', cause: { message: expect.stringContaining('a function') } });
    expect(await told('refuses')).toMatchObject({ code: 'Action', fault: 'refused', words: 'too late', action: 'try', message: 'action try: too late' });
    expect(await told('refuses by an error')).toMatchObject({ code: 'Action', fault: 'refused', words: 'by hand', action: 'try' });
    expect(await told('passes a rule on')).toBeInstanceOf(ConstraintError);
    expect(await told('passes a rule on')).toMatchObject({ table: 'stock', column: 'id' });
    expect(await told('passes bad SQL on')).toBeInstanceOf(InvalidInputError);
    expect(await told('binds what cannot be')).toMatchObject({ code: 'Callback', cause: { code: 'InvalidInput' } });
    expect(await nails(client)).toBe(5);
    expect(await waiting(client)).toBe(1);
    expect((await client.perform('try', { how: 'well' })).value).toBeNull();
  });
});

describe('who ends code', () => {
  test('that waits for what never comes: silence ends it, and its context is over', async () => {
    let kept: ActionContext | undefined;
    let given: string | undefined;
    const actions = new Actions().handler({ name: 'hang' }, async (context) => {
      kept = context;
      context.signal.addEventListener('abort', () => (given = 'up'));
      await context.execute('UPDATE stock SET n = 0');
      await gate().promise;
    });
    const client = await withStock({ actions }, { transactionIdleMs: 200 });
    expect(await caught(client.perform('hang'), 'it is given up')).toMatchObject({ code: 'Action', fault: 'timed-out' });
    expect(await nails(client)).toBe(5);
    await within(client.execute('UPDATE stock SET n = 4'), 'whoever waited has its turn');
    await until(() => given === 'up', 'the code is told');
    expect(await caught(kept?.execute('UPDATE stock SET n = 1') ?? Promise.resolve())).toBeInstanceOf(TransactionTimeoutError);
    expect(await nails(client)).toBe(4);
  });

  test('that has ended: its context is over', async () => {
    let kept: ActionContext | undefined;
    const client = await withStock({ actions: new Actions().handler({ name: 'keep' }, (context) => void (kept = context)) });
    await client.perform('keep');
    expect(await caught(kept?.query('SELECT 1') ?? Promise.resolve())).toMatchObject({ code: 'InvalidInput', message: expect.stringContaining('has ended') });
  });

  test('that writes by its client, which waits for it: silence ends it, and the write is done', async () => {
    const writes: Promise<unknown>[] = [];
    const actions = new Actions().handler({ name: 'inside' }, async (context) => {
      await context.execute('UPDATE stock SET n = 0');
      expect(await nails(client), 'who reads by the client sees the state before').toBe(5);
      expect(await client.read((snapshot) => snapshot.query('SELECT n FROM stock'))).toEqual([{ n: 5 }]);
      writes.push(client.execute('UPDATE stock SET n = 4'), client.perform('other').catch((error: unknown) => error));
      await Promise.all(writes);
    });
    actions.handler({ name: 'other' }, (context) => context.execute('UPDATE stock SET n = n - 1'));
    const client: RejoinClient = await withStock({ actions }, { transactionIdleMs: 200 });
    expect(await caught(client.perform('inside'), 'inside')).toMatchObject({ code: 'Action', fault: 'timed-out' });
    await within(Promise.all(writes), 'what was begun inside');
    expect(await nails(client)).toBe(3);
  });

  test('suspension and the end, which do not wait for it', async () => {
    const begun = gate();
    const actions = new Actions().handler({ name: 'busy' }, async (context) => {
      await context.execute('UPDATE stock SET n = 0');
      for (;;) {
        begun.open();
        await context.query('SELECT 1'); // Never silent.
      }
    });
    const client = await withStock({ actions });
    const first = caught(client.perform('busy'));
    await begun.promise;
    await within(client.suspend(), 'the suspension');
    expect(await first).toBeInstanceOf(SuspendedError);
    expect(await caught(client.perform('busy'))).toBeInstanceOf(SuspendedError);
    await client.resume();
    expect(await nails(client)).toBe(5);
    const second = caught(client.perform('busy'));
    await until(async () => within(client.query('SELECT 1'), 'a read').then(() => true), 'it runs');
    await within(client.shutdown(), 'the end');
    expect(await second).toBeInstanceOf(EndedError);
    expect(await caught(client.perform('busy'))).toBeInstanceOf(EndedError);
  });
});

test('concurrent_actions_and_queries_all_end', async () => {
  const client = await withStock({ actions: new Actions().handler({ name: 'add' }, (context) => context.execute('UPDATE stock SET n = n + 1')) });
  const calls = Array.from({ length: 200 }, (_, at) => [client.perform('add'), nails(client), at % 10 === 0 ? client.pendingCounts() : undefined]);
  await within(Promise.all(calls.flat()), 'all calls');
  expect(await nails(client)).toBe(205);
});

describe('registering', () => {
  test('what is wrong is told when the file is opened, all of it', async () => {
    const actions = new Actions().declare({ name: 'empty', statements: [] }).handler({ name: '' }, () => 1);
    const error = await caught(opened({}, { actions }));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as Error).message).toMatch(/it has no statement[^]*needs a name|needs a name[^]*it has no statement/);
    const unknown = new Actions().declare({ ...TAKE, mispelt: 1 } as never);
    expect(await caught(opened({ schemaJson: STOCK }, { actions: unknown }))).toMatchObject({ code: 'Configuration', message: expect.stringContaining('mispelt') });
    expect(() => new Actions().handler({ name: 'x', parameters: [{ name: 'a', type: 'date' as never }] }, () => 1)).toThrow(ConfigurationError);
    expect(() => new Actions().handler({ name: 'x', version: 1.5 }, () => 1)).toThrow(/1\.5 is no version/);
    expect(() => new Actions().handler({ name: 'x' }, undefined as never)).toThrow(InvalidInputError);
    expect(() => new Actions().declare({ name: 'x', statements: [undefined as never] })).toThrow(InvalidInputError);
  });

  test('a newer version takes over the arguments of the older', async () => {
    const old = new Actions().handler({ name: 'tell', parameters: [{ name: 'word', type: 'text' }, { name: 'gone', type: 'text' }] }, (context, { word }) =>
      context.execute('UPDATE stock SET note = ?', [word]),
    );
    const before = await withStock({ actions: old });
    const [first] = await before.pending();
    await before.perform('tell', { word: 'hello', gone: '' });
    await before.shutdown();
    const seen: object[] = [];
    const parameters = [{ name: 'text', type: 'text' }, { name: 'loud', type: 'boolean' }, { name: 'data', type: 'blob' }] as const;
    const upgrades = { 1: { rename: { word: 'text' }, set: { loud: true, data: new Uint8Array([1]) }, drop: ['gone'] } };
    const actions = new Actions().handler({ name: 'tell', version: 2, parameters, upgrades }, (context, given) => {
      seen.push(given);
      return context.execute('UPDATE stock SET note = ?', [given.text.toUpperCase()]);
    });
    const after = await withStock({ actions }, { path: before.path });
    expect(await after.queryOne('SELECT note FROM stock')).toEqual({ note: 'hello' });
    // What it stands on is mended, so it runs again.
    await after.edit(first?.id ?? '', [{ sql: 'UPDATE stock SET n = ?', params: [6] }]);
    expect(seen).toEqual([{ text: 'hello', loud: true, data: new Uint8Array([1]) }]);
    expect(await after.queryOne('SELECT n, note FROM stock')).toEqual({ n: 6, note: 'HELLO' });
  });

  test('who forgets to wait for a call hears of its failure as of any other promise', async () => {
    const shown = vi.fn();
    const actions = new Actions().handler({ name: 'forget' }, (context) => {
      void context.execute('UPDATE stock SET n = 7').catch(shown);
      void context.execute('SELEC').catch(shown);
    });
    const client = await withStock({ actions });
    await client.perform('forget');
    await until(() => shown.mock.calls.length === 1, 'the failure is heard');
    expect(await nails(client), 'what was asked for before the end is done').toBe(7);
  });

  test('code is let go with its client', async () => {
    const used = async (): Promise<WeakRef<object>> => {
      const kept = {};
      const client = await withStock({ actions: new Actions().handler({ name: 'use' }, () => (void kept, 1)) });
      await client.perform('use');
      await client.shutdown();
      return new WeakRef(kept);
    };
    const kept = await used();
    const collected = (): boolean => ((globalThis as { gc?: () => void }).gc?.(), kept.deref() === undefined);
    await until(collected, 'nobody holds it');
  });
});
