/** The four handles of a client: they belong to one client and end with it. The calls of each are tested with what they do. */
import { describe, expect, test } from 'vitest';
import { ClosedError, ConfigurationError, RejoinClient } from '../src/index';
import { STOCK, withStock } from './support/synced';
import { folder, opened, within } from './support/world';

const HANDLES = ['queue', 'sync', 'schema', 'storage'] as const;

/** The methods of a handle, by name. */
const methods = (handle: object): string[] =>
  Object.getOwnPropertyNames(Object.getPrototypeOf(handle)).filter((name) => name !== 'constructor');

describe('handle', () => {
  test('is the same at each access and belongs to its client', async () => {
    const [one, other] = [await withStock(), await opened({ schema: STOCK })];
    for (const name of HANDLES) expect(one[name]).toBe(one[name]);
    for (const name of HANDLES) expect(one[name]).not.toBe(other[name]);
    expect([await one.queue.counts(), await other.queue.counts()]).toMatchObject([{ pending: 1 }, { pending: 0 }]);
    expect(await one.queue.rowState('stock', 'nails')).toBe('pending');
  });

  test('has calls that the client does not repeat', async () => {
    const client = await opened();
    const own: object = client;
    for (const name of HANDLES) expect(methods(client[name]).filter((method) => method in own), name).toEqual([]);
    expect(methods(client.schema)).toEqual(['createTable', 'alterTable', 'createIndex', 'createSearchIndex', 'dropSearchIndex']);
    expect(methods(client.storage)).toEqual(['checkpoint', 'reset', 'clearForNextUser', 'importSynchro', 'diagnose']);
    const streams = ['subscribe', 'subscriptions', 'onSubscriptions'];
    const device = ['setNetwork', 'foreground', 'credentialsChanged', 'suspend', 'resume'];
    expect(methods(client.sync)).toEqual(['request', 'run', 'doctor', 'resync', 'firstSync', ...streams, ...device]);
  });

  test('kept beyond the shutdown throws ClosedError in each call', async () => {
    const client = await opened();
    const { schema, storage, sync } = client;
    await client.shutdown();
    const calls: (() => unknown)[] = [
      () => schema.createTable('t', 'id TEXT PRIMARY KEY'),
      () => schema.alterTable('t', 'n INTEGER'),
      () => schema.createIndex('t', ['n']),
      () => schema.createSearchIndex('t', ['n']),
      () => schema.dropSearchIndex('t'),
      () => storage.checkpoint('passive'),
      () => storage.importSynchro('old.db'),
      () => storage.diagnose(),
      () => sync.request(),
      () => sync.run(),
      () => sync.firstSync(),
      () => sync.subscribe('project'),
      () => sync.credentialsChanged(),
      () => sync.resume(),
    ];
    for (const call of calls) await expect(within(Promise.resolve(call()), String(call)), String(call)).rejects.toThrow(ClosedError);
  });
});

describe('schema of the configuration', () => {
  test('is an object or its JSON text', async () => {
    for (const schema of [STOCK, JSON.parse(STOCK) as object]) {
      const client = await opened({ schema });
      await client.execute("INSERT INTO stock (id) VALUES ('1')");
      expect((await client.queue.all()).length).toBe(1);
    }
  });

  test('of another type is refused', async () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    for (const [schema, message] of [[7, /schema is 7/], [null, /schema is null/], [circular, /schema cannot be written as JSON/]] as const) {
      const wrong = RejoinClient.open({ path: `${folder()}/a.db`, readers: 1.5, schema: schema as never });
      await expect(wrong).rejects.toThrow(ConfigurationError);
      await expect(wrong).rejects.toThrow(message);
      await expect(wrong, 'with every other problem').rejects.toThrow(/readers is 1\.5/);
    }
  });
});
