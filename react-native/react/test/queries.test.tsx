// @vitest-environment happy-dom
/** Watched queries as hooks, on the real engine. */
import { real, type RejoinClient } from '@rejoin/react-native';
import { act, renderHook } from '@testing-library/react';
import { describe, expect, test, vi } from 'vitest';
import { INSERT, until, withTasks } from '../../test/support/world';
import { type QueryResult, useQuery, useQueryOne, useRejoin } from '../src/index';
import { afterLinger, counting, type Counts, mount } from './support/hooks';

type Task = { id: string; title: string };
const SQL = 'SELECT id, title FROM task WHERE rank < ? ORDER BY id';
const ids = ({ rows }: QueryResult<Task>): string[] => rows.map(({ id }) => id);

async function counted(): Promise<{ client: RejoinClient; counts: Counts }> {
  const client = await withTasks();
  await client.execute(INSERT, ['1', 'one']);
  return counting(client);
}

describe('useQuery', () => {
  test('returns the rows now and after each commit', async () => {
    const { client } = await counted();
    const { seen, last } = mount(client, () => useQuery<Task>(SQL, [5]));
    expect(seen[0]).toMatchObject({ rows: [], isLoading: true, error: undefined });
    await until(() => !last().isLoading, 'the first result');
    expect(last().rows).toEqual([{ id: '1', title: 'one' }]);
    await client.execute(INSERT, ['2', 'two']);
    await until(() => last().rows.length === 2, 'the second result');
    expect(seen.length).toBe(3);
  });

  test('parameter change starts at no rows', async () => {
    const { client, counts } = await counted();
    await client.execute('INSERT INTO task (id, title, rank) VALUES (?, ?, ?)', ['2', 'two', 7]);
    const { seen, last, rerender } = mount(client, (rank: number) => useQuery<Task>(SQL, [rank]), 5 as number);
    await until(() => last().rows.length === 1, 'the first result');
    rerender(9);
    expect(last()).toMatchObject({ rows: [], isLoading: true });
    await until(() => last().rows.length === 2, 'the result for the new parameter');
    expect(seen.map(ids)).not.toContainEqual(['2']);
    await afterLinger();
    expect(counts.running()).toBe(1);
  });

  test('inline parameters and options do not start another watch', async () => {
    const { client, counts } = await counted();
    const bytes = (): Uint8Array => new Uint8Array([1, 2]);
    const { last, rerender } = mount(client, (_: number) => useQuery<Task>(`${SQL} LIMIT length(?)`, [5, bytes()], { key: ['id'] }), 0 as number);
    await until(() => !last().isLoading, 'the first result');
    const result = last();
    for (let at = 1; at < 20; at += 1) rerender(at);
    expect(counts.started).toBe(1);
    expect(last()).toBe(result);
  });

  test('parameters of other types are other queries', async () => {
    const { client, counts } = await counted();
    const values = [1, '1', true, null, -0, 0, new Uint8Array([1]), new Uint8Array([1, 0]), 2n ** 60n, real(1)];
    const { last } = mount(client, () => values.map((value) => useQuery<{ t: string }>('SELECT typeof(?) AS t', [value])));
    await until(() => last().every(({ isLoading }) => !isLoading), 'all results');
    expect(last().map(({ rows }) => rows[0]?.t)).toEqual(
      ['integer', 'text', 'integer', 'null', 'real', 'integer', 'blob', 'blob', 'integer', 'real'],
    );
    expect(counts.started).toBe(values.length);
  });

  test('StrictMode starts one watch, which ends after the unmount', async () => {
    const { client, counts } = await counted();
    const { last, unmount } = mount(client, () => useQuery<Task>(SQL, [5]), undefined, true);
    await until(() => last().rows.length === 1, 'the first result');
    expect([counts.started, counts.running()]).toEqual([1, 1]);
    unmount();
    await afterLinger();
    expect(counts.running()).toBe(0);
  });

  test('unmount before the first result ends the watch', async () => {
    const { client, counts } = await counted();
    const { seen, unmount } = mount(client, () => useQuery<Task>(SQL, [5]));
    unmount();
    await afterLinger();
    expect([counts.started, counts.running(), seen.length]).toEqual([1, 0, 1]);
    const again = mount(client, () => useQuery<Task>(SQL, [5]));
    await until(() => again.last().rows.length === 1, 'the result after another mount');
  });

  test('client that was shut down is an error, not a crash', async () => {
    const { client } = await counted();
    const printed = vi.spyOn(console, 'error');
    const before = mount(client, () => useQuery<Task>(SQL, [5]));
    await until(() => before.last().rows.length === 1, 'the result');
    await client.shutdown();
    const { last } = mount(client, () => useQuery<Task>(SQL, [6]));
    await until(() => last().error?.code === 'Closed', 'the error');
    expect(before.last()).toMatchObject({ rows: [{ id: '1' }], error: undefined });
    expect(printed).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });
});

describe('error', () => {
  test('hook recovers with the commit that fixes the query', async () => {
    const { client, counts } = await counted();
    const { last, seen } = mount(client, () => useQuery<{ n: number }>('SELECT n FROM later'));
    await until(() => last().error !== undefined, 'the error');
    expect(last()).toMatchObject({ rows: [], isLoading: false, error: { code: 'InvalidInput' } });
    await client.execute(INSERT, ['2', 'a commit that does not help']);
    await client.schema.createTable('later', 'n INTEGER PRIMARY KEY');
    await client.execute('INSERT INTO later VALUES (7)');
    await until(() => last().rows[0]?.n === 7, 'the rows');
    expect(last().error).toBeUndefined();
    expect(counts.running()).toBe(1);
    // Neither a commit that does not help nor a repeated error renders.
    expect(seen.filter(({ error }) => error !== undefined).length).toBe(1);
    const { started } = counts;
    await client.execute('INSERT INTO later VALUES (8)');
    await until(() => last().rows.length === 2, 'the next result');
    expect(counts.started).toBe(started);
  });

  test('error keeps the last rows, and retry runs the query', async () => {
    const { client } = await counted();
    const { last } = mount(client, () => useQuery<Task>(SQL, [5]));
    await until(() => last().rows.length === 1, 'the rows');
    await client.executeScript('ALTER TABLE task RENAME TO gone');
    await client.execute("UPDATE gone SET title = 'x'");
    await until(() => last().error !== undefined, 'the error');
    expect(ids(last())).toEqual(['1']);
    await client.executeScript('ALTER TABLE gone RENAME TO task');
    last().retry();
    await until(() => last().error === undefined && !last().isLoading, 'the rows again');
    expect(last().rows).toEqual([{ id: '1', title: 'x' }]);
  });
});

test('retry runs a failed query again without a commit', async () => {
  const { client, counts } = await counted();
  const { last } = mount(client, () => useQuery('SELECT n FROM later'));
  await until(() => last().error !== undefined, 'the error');
  const { started } = counts;
  act(() => last().retry());
  expect(last()).toMatchObject({ isLoading: true, error: { code: 'InvalidInput' } });
  expect(counts.started).toBe(started + 1);
  await until(() => !last().isLoading, 'the error again');
});

test('useQueryOne returns the first row', async () => {
  const { client } = await counted();
  const { last } = mount(client, () => useQueryOne<Task>(SQL, [5]));
  expect(last()).toMatchObject({ row: undefined, isLoading: true });
  await until(() => last().row?.title === 'one', 'the row');
  expect(last()).not.toHaveProperty('rows');
});

test('hook without a provider throws what to do', () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  expect(() => renderHook(() => useRejoin())).toThrow('wrap the component in <RejoinProvider client={...}>');
  vi.restoreAllMocks();
});
