/** Two thousand opens and shutdowns, with all that hangs on a client, leave nothing behind. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OfflineError, RejoinClient } from '../src/index';
import { type Resources, resources } from './support/resources';
import { folder, INSERT, within } from './support/world';

const ROUNDS = 2_000;
/** The first ones make what stays: code, caches, pools. */
const WARM = 400;

/** A life of a client: observers, watches, a transaction, a snapshot; most of it not ended by hand. */
async function life(path: string, round: number): Promise<void> {
  const tokens = { token: () => 'token' };
  const transport = { send: () => Promise.reject(new OfflineError('nobody there')) };
  const client = await RejoinClient.open({ path, serverUrl: 'http://127.0.0.1:9', userId: 'u1' }, { tokens, transport });
  await client.createTable('task', 'id TEXT PRIMARY KEY, title TEXT');
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

test('2,000 opens and shutdowns leave memory, threads and descriptors as they were', { timeout: 600_000 }, async () => {
  const place = folder();
  const measured: Resources[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const path = join(place, `${round % 10}.db`);
    await within(life(path, round), `round ${round}`);
    if (round % 10 === 0) for (const suffix of ['', '-wal', '-shm', '-rejoin-lock']) rmSync(path + suffix, { force: true });
    if (round % WARM === 0) {
      // Threads end a moment after the shutdown that they belong to.
      await new Promise((resolve) => setTimeout(resolve, 100));
      const now = resources();
      if (now !== undefined) measured.push(now);
    }
  }
  const [first, last] = [measured[0], measured.at(-1)];
  if (first === undefined || last === undefined) return; // Not Linux: that it came so far is what can be said.
  console.log(measured.map(({ memory, threads, descriptors }) => `${memory} KiB, ${threads} threads, ${descriptors} descriptors`).join('\n'));
  expect(last.threads - first.threads).toBeLessThanOrEqual(2);
  expect(last.descriptors - first.descriptors).toBeLessThanOrEqual(2);
  expect(last.memory / first.memory).toBeLessThan(1.15);
});
