/** Prints what a synchronous call into the engine costs through JSI, a callback, and a large result. */
import { mkdtempSync, join, rmSync, tmpdir } from './node';
import { ffi } from '../src/border';
import { RejoinClient } from './package';

const CALLS = 20_000;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rejoin-'));
  const client = await RejoinClient.open({ path: join(folder, 'a.db') });
  await client.execute('CREATE TABLE own (id INTEGER PRIMARY KEY, text TEXT)');
  const registry = new ffi.ActionRegistry();
  for (let round = 0; round < 3; round += 1) {
    let begun = host.now();
    for (let at = 0; at < CALLS; at += 1) registry.declare('{}');
    const call = (host.now() - begun) / CALLS;
    begun = host.now();
    for (let at = 0; at < CALLS / 10; at += 1) await client.query('SELECT 1');
    const query = ((host.now() - begun) / CALLS) * 10;
    let calls = 0;
    const writes = 300;
    const subscription = client.onChange([], () => (calls += 1));
    begun = host.now();
    for (let at = 0; at < writes; at += 1) await client.execute('INSERT INTO own (text) VALUES (?)', ['some text']);
    const write = (host.now() - begun) / writes;
    subscription.cancel();
    begun = host.now();
    const rows = await client.query('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i, i, i, i, i, i, i, i FROM n');
    const read = host.now() - begun;
    host.print(`a synchronous call ${(call * 1000).toFixed(1)} us, an awaited query ${(query * 1000).toFixed(0)} us, an awaited write with a callback ${(write * 1000).toFixed(0)} us (${calls} callbacks), ${rows.length} rows of 8 columns ${read.toFixed(1)} ms`);
  }
  await client.shutdown();
  rmSync(folder);
  host.exit(0);
}

void main();
