/** Watched queries: loops, handlers, cancellation. */
import { describe, expect, test, vi } from 'vitest';
import { CallbackError, InvalidInputError, type RejoinError, type WatchUpdate } from '../src/index';
import { gate, INSERT, until, within, withTasks } from './support/world';

type Task = { id: string; title: string };
const SQL = 'SELECT id, title FROM task ORDER BY id';

describe('loop', () => {
  test('gets the rows now and after each commit that changes them', async () => {
    const client = await withTasks();
    const seen: string[][] = [];
    for await (const tasks of client.watch<Task>(SQL)) {
      seen.push(tasks.map(({ id }) => id));
      if (seen.length === 3) break;
      await client.execute(INSERT, [String(seen.length), 'x']);
    }
    expect(seen).toEqual([[], ['1'], ['1', '2']]);
  });

  test('ignores a commit that does not change its rows', async () => {
    const client = await withTasks();
    const loop = client.watch<Task>("SELECT * FROM task WHERE id = '1'")[Symbol.asyncIterator]();
    expect((await loop.next()).value).toEqual([]);
    const next = loop.next();
    await client.execute(INSERT, ['2', 'not mine']);
    await client.execute(INSERT, ['1', 'mine']);
    expect((await within(next, 'the next result')).value).toEqual([expect.objectContaining({ title: 'mine' })]);
    await loop.return?.();
  });

  test('left while waiting settles its pending calls', async () => {
    const client = await withTasks();
    const loop = client.watch(SQL)[Symbol.asyncIterator]();
    await loop.next();
    const [one, other] = [loop.next(), loop.next()];
    await loop.return?.();
    expect(await within(Promise.all([one, other]), 'the pending calls')).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
    expect(await loop.next()).toEqual({ done: true, value: undefined });
  });

  test('ends by its signal and by shutdown', async () => {
    const client = await withTasks();
    const controller = new AbortController();
    const ending = async (signal?: AbortSignal): Promise<number> => {
      let results = 0;
      for await (const _ of client.watch(SQL, [], { signal })) results += 1;
      return results;
    };
    const byController = ending(controller.signal);
    const byEnd = ending();
    await until(async () => (await client.query('SELECT 1')).length === 1, 'a turn');
    controller.abort();
    await within(byController, 'the aborted loop');
    expect(await ending(AbortSignal.abort())).toBe(0);
    await client.shutdown();
    await within(byEnd, 'the loop of a client that was shut down');
  });

  test('throws if the query does not compile, then ends', async () => {
    const client = await withTasks();
    const loop = client.watch('SELECT * FROM none')[Symbol.asyncIterator]();
    await expect(loop.next()).rejects.toThrow(InvalidInputError);
    expect(await loop.next()).toEqual({ done: true, value: undefined });
  });

  test('with a key gets added, changed and removed rows', async () => {
    const client = await withTasks();
    await client.executeScript("INSERT INTO task VALUES ('1', 'a', 0), ('2', 'b', 0), ('3', 'c', 0)");
    const loop = client.watch<Task>(SQL, [], { key: ['id'] }).updates()[Symbol.asyncIterator]();
    const next = async (): Promise<WatchUpdate<Task>> => (await within(loop.next(), 'an update')).value as WatchUpdate<Task>;
    expect((await next()).difference).toEqual({ added: [0, 1, 2], changed: [], removed: [] });
    await client.executeScript("DELETE FROM task WHERE id = '1'; UPDATE task SET title = 'B' WHERE id = '2'; INSERT INTO task VALUES ('4', 'd', 0)");
    const update = await next();
    expect(update.difference).toEqual({ added: [2], changed: [0], removed: [0] });
    expect(update.rows.map(({ title }) => title)).toEqual(['B', 'c', 'd']);
    await loop.return?.();
  });

  test('started while suspended begins at resume', async () => {
    const client = await withTasks();
    await client.sync.suspend();
    const loop = client.watch<Task>(SQL)[Symbol.asyncIterator]();
    const first = loop.next();
    await client.sync.resume();
    expect(await within(first, 'the first result')).toEqual({ done: false, value: [] });
    await loop.return?.();
  });

  test('each loop over one watch is independent', async () => {
    const client = await withTasks();
    const watch = client.watch<Task>(SQL, []);
    const first = async (): Promise<number> => {
      for await (const tasks of watch) return tasks.length;
      return -1;
    };
    expect(await first()).toBe(0);
    await client.execute(INSERT, ['1', 'a']);
    expect(await first()).toBe(1);
  });
});

describe('handlers', () => {
  test('get each result until cancelled, also from inside', async () => {
    const client = await withTasks();
    const seen: number[] = [];
    const subscription = client.watch<Task>(SQL, [], {
      onRows(rows) {
        seen.push(rows.length);
        if (rows.length === 2) subscription.cancel();
      },
    });
    await until(() => seen.length === 1, 'the first result');
    await client.execute(INSERT, ['1', 'a']);
    await until(() => seen.length === 2, 'the second');
    await client.execute(INSERT, ['2', 'b']);
    await until(() => subscription.isCancelled, 'the third, which cancels');
    await client.execute(INSERT, ['3', 'c']);
    await client.shutdown();
    expect(seen).toEqual([0, 1, 2]);
  });

  test('error of onRows goes to onError and the watch continues', async () => {
    const client = await withTasks();
    const errors: RejoinError[] = [];
    const own = new Error('own');
    let calls = 0;
    client.watch(SQL, [], {
      onRows() {
        calls += 1;
        if (calls === 1) throw own;
        if (calls === 2) return Promise.reject(own);
        return undefined;
      },
      onError: (error) => errors.push(error),
    });
    for (const id of ['1', '2']) {
      await until(() => errors.length === Number(id), 'the error is reported');
      await client.execute(INSERT, [id, 'x']);
    }
    await until(() => calls === 3, 'the watch continues');
    expect(errors.map((error) => [error instanceof CallbackError, error.cause])).toEqual([[true, own], [true, own]]);
  });

  test('failing query is reported and recovers', async () => {
    const client = await withTasks();
    await client.schema.createTable('passing', 'id TEXT PRIMARY KEY');
    const reported: (string | number)[] = [];
    client.watch('SELECT id FROM passing', [], {
      onRows: (rows) => reported.push(rows.length),
      onError: (error) => reported.push(error.code),
    });
    await until(() => reported.length === 1, 'the first result');
    await client.executeScript('DROP TABLE passing');
    await until(() => reported.length === 2, 'the failure');
    await client.schema.createTable('passing', 'id TEXT PRIMARY KEY');
    await client.execute("INSERT INTO passing VALUES ('1')");
    await until(() => reported.includes(1), 'it works again');
    expect(reported.slice(0, 2)).toEqual([0, 'InvalidInput']);
  });

  test('invalid query is reported once and ends the watch', async () => {
    const client = await withTasks();
    const errors: string[] = [];
    const subscription = client.watch('SELEC', [], { onRows: () => undefined, onError: (error) => errors.push(error.code) });
    await until(() => subscription.isCancelled, 'it has ended');
    expect(errors).toEqual(['InvalidInput']);
  });

  test('watch that cannot start reports the error once', async () => {
    const client = await withTasks();
    const codes: string[] = [];
    const handlers = { onRows: () => undefined, onError: (error: RejoinError) => codes.push(error.code) };
    const wrong = client.watch('SELECT ?', [undefined as never], handlers);
    await until(() => wrong.isCancelled, 'it has ended');
    await client.shutdown();
    const late = client.watch('SELECT 1', [], handlers);
    await until(() => late.isCancelled, 'it has ended');
    expect(codes).toEqual(['InvalidInput', 'Closed']);
  });

  test('errors without a working onError are printed', async () => {
    const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const client = await withTasks();
    client.watch('SELEC', [], { onRows: () => undefined });
    client.watch('SELEC', [], {
      onRows: () => undefined,
      onError: () => {
        throw new Error('own');
      },
    });
    await until(() => shown.mock.calls.length === 2, 'both are printed');
    shown.mockRestore();
  });

  test('slow handler skips stale results and gets the latest', async () => {
    const client = await withTasks();
    const seen: number[] = [];
    const first = gate();
    client.watch<Task>(SQL, [], {
      async onRows(rows) {
        seen.push(rows.length);
        if (seen.length === 1) await first.promise;
      },
    });
    await until(() => seen.length === 1, 'the first result');
    for (let id = 0; id < 20; id += 1) await client.execute(INSERT, [String(id), 'x']);
    first.open();
    await until(() => seen.at(-1) === 20, 'the latest');
    expect(seen.length).toBeLessThan(20);
  });
});
