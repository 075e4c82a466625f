// @vitest-environment happy-dom
/** Subscriptions as a hook, on the real engine. */
import type { RejoinClient } from '@rejoin/react-native';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { device, newUser } from '../../test/support/devices';
import { StoryServer } from '../../test/support/server';
import { opened, until } from '../../test/support/world';
import { useSubscription } from '../src/index';
import { mount } from './support/hooks';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

/** The parameter of each subscription that the app holds. */
const held = (client: RejoinClient): (string | undefined)[] =>
  client.sync
    .subscriptions()
    .filter(({ endsMs }) => endsMs === undefined)
    .map(({ parameters }) => parameters['project']);

test('subscription is held while mounted and follows its status', async () => {
  const client = await device(server, newUser());
  const { last, rerender, unmount } = mount(client, (project: number) => useSubscription('project', { project }), 42 as number, true);
  expect(last()).toEqual({ kind: 'waiting' });
  await until(() => held(client).length === 1, 'the subscription');
  await client.sync.run();
  await until(() => last().kind === 'refused', 'the status');
  rerender(43);
  await until(() => held(client).join() === '43', 'the other subscription, after the first has lingered');
  unmount();
  await until(() => held(client).length === 0, 'the release');
  expect(client.sync.subscriptions().length).toBe(2);
});

test('status is current when the rows of the stream are here', async () => {
  const user = newUser();
  await server.sql(`INSERT INTO board_member VALUES ('${user}', 7, 1); INSERT INTO card (id, board, title) VALUES ('c7', 7, 'here'), ('c8', 8, 'not here')`);
  const client = await device(server, user);
  const { last, unmount } = mount(client, () => useSubscription('board', { board: 7 }));
  await until(() => client.sync.subscriptions().length === 1, 'the subscription');
  await client.sync.run();
  await until(() => last().kind === 'current', 'the status');
  expect(await client.query('SELECT id FROM card')).toEqual([{ id: 'c7' }]);
  unmount();
});

test('subscription begins after a suspension, and an invalid one is printed', async () => {
  const client = await opened();
  await client.sync.suspend();
  const { unmount } = mount(client, () => useSubscription('project', { project: 1 }));
  await client.sync.resume();
  await until(() => held(client).length === 1, 'the subscription');
  unmount();
  const print = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  mount(client, () => useSubscription(''));
  await until(() => print.mock.calls.length === 1, 'the error');
  print.mockRestore();
});
