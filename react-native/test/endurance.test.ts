/** Leak test: opens and shutdowns with observers, watches and transactions; 2,000 in the deep run. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OfflineError, RejoinClient } from '../src/index';
import { STRIDE } from './support/interleave';
import { type Resources, resources } from './support/resources';
import { folder, INSERT, within } from './support/world';

const ROUNDS = STRIDE === 1 ? 2_000 : 500;
/** Rounds of warm-up, which allocate what stays: compiled code, caches, pools. */
const WARM = ROUNDS / 5;

/** Opens a client, uses observers, watches, a transaction and a snapshot, mostly without ending them, and shuts it down. */
async function openAndShutDown(path: string, round: number): Promise<void> {
  const tokens = { token: () => 'token' };
  const transport = { send: () => Promise.reject(new OfflineError('no server')) };
  const client = await RejoinClient.open({ path, server: 'http://127.0.0.1:9', userId: 'u1' }, { tokens, transport });
  await client.schema.createTable('task', 'id TEXT PRIMARY KEY, title TEXT');
  client.onChange([], () => undefined);
  client.onStatus(() => undefined);
  client.watch('SELECT * FROM task', [], { onRows: () => undefined });
  const loop = client.watch('SELECT count(*) FROM task')[Symbol.asyncIterator]();
  await loop.next();
  await client.execute(INSERT, ['1', 'x'.repeat(1000)]);
  await client.transaction((tx) => tx.execute('DELETE FROM task'));
  await client.read((snapshot) => snapshot.query('SELECT * FROM task'));
  if (round % 4 === 0) await client.start();
  const last = loop.next();
  await client.shutdown();
  await last;
}

test('opens and shutdowns leak no memory, threads or descriptors', { timeout: 600_000 }, async () => {
  const place = folder();
  const measured: Resources[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const path = join(place, `${round % 10}.db`);
    await within(openAndShutDown(path, round), `round ${round}`);
    if (round % 10 === 0) for (const suffix of ['', '-wal', '-shm', '-rejoin-lock']) rmSync(path + suffix, { force: true });
    if (round % WARM === 0) {
      // Threads end shortly after the shutdown.
      await new Promise((resolve) => setTimeout(resolve, 100));
      const now = resources();
      if (now !== undefined) measured.push(now);
    }
  }
  const [first, last] = [measured[0], measured.at(-1)];
  if (first === undefined || last === undefined) return; // Not Linux: there is nothing to measure.
  console.log(measured.map(({ memory, threads, descriptors }) => `${memory} KiB, ${threads} threads, ${descriptors} descriptors`).join('\n'));
  expect(last.threads - first.threads).toBeLessThanOrEqual(2);
  expect(last.descriptors - first.descriptors).toBeLessThanOrEqual(2);
  expect(last.memory / first.memory).toBeLessThan(1.15);
});
