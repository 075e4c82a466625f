/** The engine's log in the app's hands. */
import { afterEach, expect, test, vi } from 'vitest';
import { type LogRecord, OfflineError, setLogSink } from '../src/index';
import { opened, until } from './support/world';

afterEach(() => setLogSink('error'));

/** Makes the engine say something: a transport that throws while connections are dropped. */
async function speaks(): Promise<void> {
  const transport = {
    send: () => Promise.reject(new OfflineError('nobody there')),
    disconnect(): void {
      throw new Error('the socket is stuck');
    },
  };
  const client = await opened({ serverUrl: 'http://127.0.0.1:9', userId: 'u1' }, { transport });
  await client.start();
  await until(() => client.status().state.kind === 'offline', 'nobody answers');
  await client.suspend();
  await client.resume();
}

test('a sink gets lines with level, time, origin, words and fields', async () => {
  const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const heard: LogRecord[] = [];
  setLogSink('warn', (record) => heard.push(record));
  await speaks();
  await until(() => heard.length > 0, 'the line arrives');
  const [line] = heard;
  expect(line).toMatchObject({ level: 'warn', text: expect.stringContaining('transport') as string });
  expect(line?.target).toMatch(/^rejoin/);
  expect(Object.values(line?.fields ?? {}).join()).toContain('the socket is stuck');
  expect(Math.abs((line?.at ?? 0) - Date.now())).toBeLessThan(60_000);
  shown.mockRestore();
});

test('a sink may be replaced and taken away, and one that throws is shown on the console', async () => {
  const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  let [first, second] = [0, 0];
  setLogSink('warn', () => (first += 1));
  setLogSink('trace', () => {
    second += 1;
    throw new Error('own');
  });
  await speaks();
  await until(() => second > 0, 'the second sink hears');
  expect(first).toBe(0);
  expect(shown.mock.calls.some(([where]) => String(where).includes('log sink'))).toBe(true);
  setLogSink('trace');
  const before = second;
  await speaks();
  expect(second).toBe(before);
  shown.mockRestore();
});
