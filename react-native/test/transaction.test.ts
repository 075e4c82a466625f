/** Transactions with asynchronous bodies, run by the engine's writer thread. */
import { describe, expect, test } from 'vitest';
import {
  ClosedError,
  InvalidInputError,
  SuspendedError,
  type Transaction,
  TransactionTimeoutError,
} from '../src/index';
import { count, gate, INSERT, opened, within, withTasks } from './support/world';

test('commits after the body and returns its result', async () => {
  const client = await withTasks();
  const result = await client.transaction(async (tx) => {
    expect(await tx.execute(INSERT, ['1', 'a'])).toBe(1);
    expect(await tx.executeReturning('INSERT INTO task (id, title) VALUES (?, ?) RETURNING id', ['2', 'b'])).toEqual([{ id: '2' }]);
    expect(await tx.batch([{ sql: INSERT, params: ['3', 'c'] }])).toEqual([1]);
    expect(await count(client), 'not visible outside before the commit').toBe(0);
    expect((await tx.rows('SELECT * FROM task')).length).toBe(3);
    return tx.queryOne<{ n: number }>('SELECT count(*) AS n FROM task');
  });
  expect(result).toEqual({ n: 3 });
  expect(await count(client)).toBe(3);
});

test('rolls back when the body throws and rethrows its error', async () => {
  const client = await withTasks();
  const own = new Error('own');
  const throwing = [
    async (tx: Transaction) => {
      await tx.execute(INSERT, ['1', 'a']);
      throw own;
    },
    () => {
      throw own;
    },
    () => Promise.reject(own),
  ];
  for (const body of throwing) await expect(client.transaction(body)).rejects.toBe(own);
  expect(await count(client)).toBe(0);
  await client.transaction((tx) => tx.execute(INSERT, ['1', 'a']));
  expect(await count(client)).toBe(1);
});

test('body may throw a non-error', async () => {
  const client = await withTasks();
  for (const odd of [undefined, null, 'text', 7]) {
    const caught = await client.transaction(() => Promise.reject(odd as unknown as Error)).then(
      () => 'no error',
      (error: unknown) => error,
    );
    expect(caught).toBe(odd);
  }
});

test('body may be synchronous or empty', async () => {
  const client = await withTasks();
  expect(await client.transaction(() => 7)).toBe(7);
  expect(await client.transaction(() => undefined)).toBeUndefined();
});

test('concurrent transactions run one at a time', async () => {
  const client = await withTasks();
  await client.execute(INSERT, ['n', '0']);
  const increment = (): Promise<void> =>
    client.transaction(async (tx) => {
      const row = await tx.queryOne<{ title: string }>("SELECT title FROM task WHERE id = 'n'");
      await Promise.resolve();
      await tx.execute("UPDATE task SET title = ? WHERE id = 'n'", [String(Number(row?.title) + 1)]);
    });
  await within(Promise.all(Array.from({ length: 50 }, increment)), 'fifty transactions');
  expect(await client.queryOne("SELECT title FROM task WHERE id = 'n'")).toEqual({ title: '50' });
});

test('un-awaited statements are part of the transaction', async () => {
  const client = await withTasks();
  await client.transaction((tx) => {
    void tx.execute(INSERT, ['1', 'a']);
    void tx.execute(INSERT, ['2', 'b']);
  });
  expect(await count(client)).toBe(2);
});

test('transaction cannot be used after its end', async () => {
  const client = await withTasks();
  let kept: Transaction | undefined;
  await client.transaction((tx) => void (kept = tx));
  await expect(kept?.execute(INSERT, ['1', 'a'])).rejects.toThrow(/the transaction has ended/);
  await expect(kept?.query('SELECT 1')).rejects.toThrow(InvalidInputError);
  expect(await count(client)).toBe(0);
});

describe('savepoints', () => {
  test('undo their own writes and nest', async () => {
    const client = await withTasks();
    const own = new Error('own');
    await client.transaction(async (tx) => {
      await tx.execute(INSERT, ['1', 'kept']);
      const inner = tx.savepoint(async () => {
        await tx.execute(INSERT, ['2', 'undone']);
        expect(await tx.savepoint(() => tx.execute(INSERT, ['3', 'undone with it']))).toBe(1);
        throw own;
      });
      await expect(inner).rejects.toBe(own);
      await tx.savepoint(() => tx.execute(INSERT, ['4', 'kept']));
    });
    expect((await client.query<{ id: string }>('SELECT id FROM task')).map(({ id }) => id)).toEqual(['1', '4']);
  });

  test('ended out of order roll the transaction back', async () => {
    const client = await withTasks();
    const { promise, open } = gate();
    const spoiled = client.transaction(async (tx) => {
      const outer = tx.savepoint(async () => {
        await tx.execute(INSERT, ['1', 'outer']);
        await promise;
      });
      const inner = tx.savepoint(async () => {
        await tx.execute(INSERT, ['2', 'inner']);
        open();
        await outer.catch(() => undefined);
      });
      await Promise.allSettled([outer, inner]);
    });
    await expect(within(spoiled, 'the spoiled transaction')).rejects.toThrow(/a part was not ended at the commit, savepoint 1;/);
    expect(await count(client)).toBe(0);
  });

  test('open at the end of the body roll the transaction back', async () => {
    const own = new Error('own');
    for (const when of ['after its first write', 'before it starts'] as const) {
      const client = await withTasks();
      const later = gate();
      const [wrote, part] = [gate(), gate<Promise<unknown>>()];
      const forgetful = client.transaction(async (tx) => {
        await tx.execute(INSERT, ['1', 'beside it']);
        const savepoint = tx.savepoint(async () => {
          await tx.execute(INSERT, ['2', 'a part that fails later']);
          wrote.open();
          await later.promise;
          throw own;
        });
        part.open(savepoint.catch((error: unknown) => error));
        if (when === 'after its first write') await wrote.promise;
      });
      await expect(within(forgetful, when)).rejects.toThrow(/a part was not ended at the commit/);
      await expect(forgetful).rejects.toThrow(InvalidInputError);
      expect(await count(client), when).toBe(0);
      later.open();
      await within(Promise.resolve(part.promise).then((savepoint) => savepoint), 'the part ends');
      await within(client.execute(INSERT, ['3', 'c']), 'the writer is free');
    }
  });
});

describe('ended from outside', () => {
  test('abort rolls back at once although the body hangs', async () => {
    const client = await withTasks();
    const controller = new AbortController();
    const hanging = gate();
    const reason = new Error('the user left');
    const began = gate<Transaction>();
    const aborted = client.transaction(
      async (tx) => {
        await tx.execute(INSERT, ['1', 'a']);
        began.open(tx);
        await hanging.promise;
        return tx.execute(INSERT, ['2', 'b']);
      },
      { signal: controller.signal },
    );
    const tx = await began.promise;
    controller.abort(reason);
    await expect(within(aborted, 'the aborted transaction')).rejects.toBe(reason);
    expect(await count(client)).toBe(0);
    hanging.open();
    await expect(tx.execute(INSERT, ['3', 'c'])).rejects.toThrow(/has ended/);
    await within(client.execute(INSERT, ['4', 'd']), 'the writer is free');
    expect(await count(client)).toBe(1);
  });

  test('abort of a waiting transaction never runs its body', async () => {
    const client = await withTasks();
    const first = gate();
    const holding = client.transaction(async () => first.promise);
    const controller = new AbortController();
    let ran = false;
    const waiting = client.transaction(() => void (ran = true), { signal: controller.signal });
    controller.abort();
    await expect(within(waiting, 'the aborted one')).rejects.toMatchObject({ name: 'AbortError' });
    first.open();
    await holding;
    await within(client.execute(INSERT, ['1', 'a']), 'a write after both');
    expect(ran).toBe(false);
    const never = client.transaction(() => 1, { signal: AbortSignal.abort(new Error('before')) });
    await expect(never).rejects.toThrow('before');
  });

  test('signal without a reason gives an AbortError', async () => {
    const client = await withTasks();
    const bare = { aborted: true, addEventListener: () => undefined, removeEventListener: () => undefined };
    const never = client.transaction(() => 1, { signal: bare as unknown as AbortSignal });
    await expect(never).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('abort after the end changes nothing', async () => {
    const client = await withTasks();
    const controller = new AbortController();
    await client.transaction((tx) => tx.execute(INSERT, ['1', 'a']), { signal: controller.signal });
    controller.abort();
    expect(await count(client)).toBe(1);
  });

  test('idle body is rolled back and gets the timeout error', async () => {
    const client = await withTasks({ transactionIdleMs: 1_000 });
    const hang = client.transaction(async (tx) => {
      await tx.execute(INSERT, ['2', 'b']);
      // A mistake that JavaScript cannot detect: the body waits for its own transaction.
      await client.execute(INSERT, ['3', 'c']);
      await tx.execute(INSERT, ['4', 'd']);
    });
    await expect(within(hang, 'the deadlocked transaction')).rejects.toThrow(TransactionTimeoutError);
    const ids = (await client.query<{ id: string }>('SELECT id FROM task')).map(({ id }) => id);
    expect(ids).toEqual(['3']);
  });

  test('suspend rolls back and the body gets the error', async () => {
    const client = await withTasks();
    const { promise, open } = gate();
    const began = gate();
    const suspended = client.transaction(async (tx) => {
      await tx.execute(INSERT, ['1', 'a']);
      began.open();
      await promise;
      await tx.execute(INSERT, ['2', 'b']);
    });
    await began.promise;
    await within(client.sync.suspend(), 'suspending does not wait for the body');
    open();
    await expect(within(suspended, 'the transaction')).rejects.toThrow(SuspendedError);
    await client.sync.resume();
    expect(await count(client)).toBe(0);
  });

  test('shutdown rolls back, also from inside the body', async () => {
    const client = await withTasks();
    const path = client.path;
    const ended = client.transaction(async (tx) => {
      await tx.execute(INSERT, ['1', 'a']);
      await client.shutdown();
      await tx.execute(INSERT, ['2', 'b']);
    });
    await expect(within(ended, 'the transaction')).rejects.toThrow(ClosedError);
    expect(await count(await opened({ path }))).toBe(0);
  });
});
