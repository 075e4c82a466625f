/** A program that exits without shutting its client down, in the way given by its argument; run by `exit.test.ts`. */
import { RejoinClient, setLogger } from '../../node/index';

const [path = '', how] = process.argv.slice(2);
const client = await RejoinClient.open({ path, server: 'http://127.0.0.1:9', userId: 'u1' }, { tokens: { token: () => 'token' } });
await client.schema.createTable('task', 'id INTEGER PRIMARY KEY');
let calls = 0;
setLogger('trace', () => (calls += 1));
client.onChange([], () => (calls += 1));
client.onStatus(() => (calls += 1));
await client.start();
await client.execute('INSERT INTO task DEFAULT VALUES');
if (how === 'amid calls') {
  client.watch('SELECT * FROM task', [], { onRows: () => (calls += 1) });
  void client.transaction(() => new Promise<never>(() => undefined)).catch(() => undefined);
  for (let at = 0; at < 50; at += 1) void client.query('SELECT * FROM task').catch(() => undefined);
  const end = performance.now() + 3;
  while (performance.now() < end); // The engine's threads now block in callbacks that never run.
  process.exit(0);
}
console.log('done');
