/** A process that ends without a shutdown does not hang or crash, and its writes are stored. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { folder, opened, within } from './support/world';

const root = new URL('..', import.meta.url).pathname;

async function run(path: string, how: string): Promise<number | string | null> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/support/exits.ts', path, how], { cwd: root });
  child.stderr.pipe(process.stderr);
  const ended = new Promise<number | string | null>((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  try {
    return await within(ended, `the process that ends ${how}`, 30_000);
  } finally {
    child.kill('SIGKILL');
  }
}

test.each(['by itself', 'amid calls'])('process exits %s without shutdown', { timeout: 120_000 }, async (how) => {
  const path = join(folder(), 'a.db');
  for (let round = 1; round <= 5; round += 1) expect(await run(path, how)).toBe(0);
  const client = await opened({ path });
  expect(await client.queryOne('SELECT count(*) AS n FROM task')).toEqual({ n: 5 });
});
