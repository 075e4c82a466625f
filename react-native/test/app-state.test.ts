/** `followApp` on what the guide's test does not have: Android, no NetInfo, and its own end. */
import { expect, test } from 'vitest';
import { followApp, InvalidInputError } from '../src/index';
import { opened } from './support/world';

test('followApp does not suspend on Android, needs no NetInfo, and removes its listener', async () => {
  const client = await opened();
  const listeners = new Set<(state: string) => void>();
  const AppState = {
    addEventListener: (_: 'change', listener: (state: string) => void) => {
      listeners.add(listener);
      return { remove: () => void listeners.delete(listener) };
    },
  };
  const followed = followApp(client, { AppState, Platform: { OS: 'android' } });
  for (const state of ['background', 'inactive', 'active', 'background']) for (const listener of listeners) listener(state);
  await new Promise(setImmediate);
  expect(await client.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(listeners.size).toBe(1);
  followed.cancel();
  expect(listeners.size).toBe(0);
  await client.shutdown();
});

test('followApp outside of React Native names what to pass', async () => {
  const client = await opened();
  expect(() => followApp(client)).toThrow(InvalidInputError);
  expect(() => followApp(client, { Platform: { OS: 'ios' } })).toThrow('pass AppState and Platform');
  await client.shutdown();
});

test('a network event that comes before the end of the subscription is not passed on after it', async () => {
  const client = await opened();
  let report: ((state: { isConnected: boolean | null }) => void) | undefined;
  const followed = followApp(client, {
    AppState: { addEventListener: () => ({ remove: () => undefined }) },
    Platform: { OS: 'ios' },
    NetInfo: { addEventListener: (listener) => ((report = listener), () => (report = undefined)) },
  });
  const { setNetwork } = client.sync;
  const passed: unknown[] = [];
  client.sync.setNetwork = (state) => (passed.push(state), setNetwork.call(client.sync, state));
  report?.({ isConnected: null });
  await new Promise(setImmediate);
  report?.({ isConnected: false });
  followed.cancel();
  await new Promise(setImmediate);
  expect(passed).toEqual([{ online: true, metered: false }]);
  expect(report).toBeUndefined();
  await client.shutdown();
});
