/** The logger of the app. */
import { afterEach, expect, test, vi } from 'vitest';
import { type LogRecord, OfflineError, setLogger } from '../src/index';
import { opened, until } from './support/world';

afterEach(() => setLogger('error'));

/** Makes the engine log an error: a transport whose `disconnect` throws. */
async function causeLogLine(): Promise<void> {
  const transport = {
    send: () => Promise.reject(new OfflineError('no server')),
    disconnect(): void {
      throw new Error('the socket is stuck');
    },
  };
  const client = await opened({ server: 'http://127.0.0.1:9', userId: 'u1' }, { transport });
  await client.start();
  await until(() => client.status().state.kind === 'offline', 'the status is offline');
  await client.sync.suspend();
  await client.sync.resume();
}

test('logger gets level, time, target, text and fields', async () => {
  const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const lines: LogRecord[] = [];
  setLogger('warn', (record) => lines.push(record));
  await causeLogLine();
  await until(() => lines.length > 0, 'the line arrives');
  const [line] = lines;
  expect(line).toMatchObject({ level: 'warn', text: expect.stringContaining('transport') as string });
  expect(line?.target).toMatch(/^rejoin/);
  expect(Object.values(line?.fields ?? {}).join()).toContain('the socket is stuck');
  expect(Math.abs((line?.atMs ?? 0) - Date.now())).toBeLessThan(60_000);
  shown.mockRestore();
});

test('logger can be replaced and removed, and its error is printed', async () => {
  const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  let [first, second] = [0, 0];
  setLogger('warn', () => (first += 1));
  setLogger('trace', () => {
    second += 1;
    throw new Error('own');
  });
  await causeLogLine();
  await until(() => second > 0, 'the second logger gets a line');
  expect(first).toBe(0);
  expect(shown.mock.calls.some(([where]) => String(where).includes('a logger'))).toBe(true);
  setLogger('trace');
  await causeLogLine(); // Lines that were on their way still arrive.
  const before = second;
  await causeLogLine();
  expect(second).toBe(before);
  shown.mockRestore();
});
