// @vitest-environment happy-dom
/** Actions, transactions and the queue as hooks, on the real engine. */
import { ActionError, Actions, type RejoinClient } from '@rejoin/react-native';
import { act } from '@testing-library/react';
import { describe, expect, test } from 'vitest';
import { CREATE, device, newUser, sync } from '../../test/support/devices';
import { StoryServer } from '../../test/support/server';
import { nails, withStock } from '../../test/support/synced';
import { gate, until, within } from '../../test/support/world';
import { useAction, usePendingWrites, useRowState, useSyncStatus, useTransaction } from '../src/index';
import { mount } from './support/hooks';

const actions = new Actions().declare({
  name: 'take',
  parameters: [{ name: 'id', type: 'text' }, { name: 'n', type: 'integer' }],
  preconditions: [{ sql: 'SELECT n >= :n FROM stock WHERE id = :id', message: 'not enough in stock' }],
  statements: ['UPDATE stock SET n = n - :n WHERE id = :id'],
  result: 'SELECT n AS left FROM stock WHERE id = :id',
});
const thrown = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'nothing', (error: unknown) => error);

describe('useAction', () => {
  const stocked = (): Promise<RejoinClient> => withStock({ actions });
  const useTake = () => useAction<{ id: string; n: number }, { left: number }>('take');

  test('runs offline, and lists its pending mutations', async () => {
    const client = await stocked();
    const { last } = mount(client, useTake);
    // `act` renders before the engine can answer.
    let running: ReturnType<ReturnType<typeof useTake>['run']> | undefined;
    act(() => void (running = last().run({ id: 'nails', n: 2 })));
    expect(last().isRunning).toBe(true);
    const { id, value } = (await running) ?? {};
    expect(value).toEqual({ left: 3 });
    await until(() => last().pending.length === 1 && !last().isRunning, 'the mutation');
    // The insert of the row is no mutation of the action.
    expect(last().pending.map((write) => write.id)).toEqual([id]);
    expect(last()).toMatchObject({ parked: [], error: undefined });
  });

  test('refusal is an error, until the next run', async () => {
    const client = await stocked();
    const { last } = mount(client, useTake);
    const error = await thrown(last().run({ id: 'nails', n: 9 }));
    expect(error).toBeInstanceOf(ActionError);
    await until(() => last().error === error && !last().isRunning, 'the error');
    // A promise that is ignored is not an unhandled rejection, which would fail this file.
    void last().run({ id: 'nails', n: 8 });
    await until(() => last().error !== undefined && last().error !== error, 'the next error');
    await last().run({ id: 'nails', n: 1 });
    await until(() => last().error === undefined && !last().isRunning, 'success');
    expect(await nails(client)).toBe(4);
  });

  test('run keeps its identity', async () => {
    const { last, rerender } = mount(await stocked(), useTake);
    const { run } = last();
    await until(() => last().pending !== undefined, 'the queue');
    rerender(undefined);
    expect(last().run).toBe(run);
  });

  test('write completes after the unmount', async () => {
    const client = await stocked();
    const { last, unmount } = mount(client, useTake);
    const running = last().run({ id: 'nails', n: 2 });
    unmount();
    await running;
    expect(await nails(client)).toBe(3);
  });
});

test('useTransaction commits, and rolls back with the error of its body', async () => {
  const client = await withStock();
  const { last } = mount(client, () => useTransaction());
  const [open, own] = [gate(), new Error('own')];
  const running = last().run(async (tx) => (await open.promise, tx.execute('UPDATE stock SET n = 4')));
  await until(() => last().isRunning, 'the start');
  open.open();
  expect(await running).toBe(1);
  await until(() => !last().isRunning, 'the end');
  expect(await thrown(last().run(async (tx) => (await tx.execute('UPDATE stock SET n = 3'), Promise.reject(own))))).toBe(own);
  await until(() => last().error === own, 'the error');
  expect(await nails(client)).toBe(4);
});

describe('with a server', () => {
  test('row is pending, then synced, and the queue is empty', async () => {
    const server = await StoryServer.start();
    const user = newUser();
    const client = await device(server, user);
    const { last, seen } = mount(client, () => ({ state: useRowState('task', `${user}-1`), queue: usePendingWrites() }));
    await until(() => last().state === 'synced' && !last().queue.isLoading, 'the first read');
    await client.execute(CREATE, [`${user}-1`, user, 'x']);
    await until(() => last().state === 'pending' && last().queue.pending.length === 1, 'pending');
    const [first] = last().queue.pending;
    await client.execute(CREATE, [`${user}-2`, user, 'y']);
    await until(() => last().queue.pending.length === 2, 'both');
    expect(last().queue.pending[0]).toBe(first);
    await sync(client);
    await until(() => last().state === 'synced' && last().queue.pending.length === 0, 'synced');
    expect(seen[0]).toMatchObject({ state: undefined, queue: { isLoading: true, pending: [], parked: [] } });
    await server.quit();
  });

  test('status follows the server, also offline and after the shutdown', async () => {
    const server = await StoryServer.start();
    const client = await device(server, newUser());
    const { last, seen } = mount(client, () => useSyncStatus());
    expect(last().state.kind).toBe('idle');
    await within(client.sync.run(), 'syncing');
    await until(() => last().state.kind === 'up-to-date', 'synced');
    await server.order({ do: 'stop' });
    client.sync.foreground();
    await until(() => last().state.kind === 'offline', 'offline');
    const kinds = seen.map((status) => JSON.stringify(status));
    expect(kinds.every((kind, at) => kind !== kinds[at - 1])).toBe(true);
    await client.shutdown();
    const after = mount(client, () => useSyncStatus());
    expect(after.last().state.kind).toBe('stopped');
    await server.quit();
  });

  test('queue is read again after a suspension', async () => {
    const client = await withStock();
    await client.sync.suspend();
    const { last } = mount(client, () => usePendingWrites());
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(last()).toMatchObject({ isLoading: true, error: undefined });
    await client.sync.resume();
    await until(() => last().pending.length === 1, 'the queue');
  });

  test('state of a row of a table that is not synced is undefined', async () => {
    const { last, rerender } = mount(await withStock(), (table: string) => useRowState(table, 'nails'), 'no_such_table' as string);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(last()).toBeUndefined();
    rerender('stock');
    await until(() => last() === 'pending', 'the state');
  });
});
