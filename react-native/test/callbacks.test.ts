/**
 * Every kind of callback against everything that it may do from inside: call back, end what it belongs to, block, throw.
 *
 * A synchronous call into the engine that waited while the engine waits for JavaScript would never return, and no timer would tell: the
 * watchdog is a thread.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  Actions,
  type ClientConfig,
  type HttpTransport,
  OfflineError,
  RejoinClient,
  RejoinError,
  type Services,
  setLogSink,
  type Subscription,
} from '../src/index';
import { StoryServer } from './support/server';
import { STOCK } from './support/synced';
import { Watchdog } from './support/watchdog';
import { folder, gate, INSERT, until, within } from './support/world';

let watchdog: Watchdog;
let place: string;
let server: StoryServer;
let number = 0;
beforeAll(async () => {
  watchdog = new Watchdog(30_000);
  place = folder();
  server = await StoryServer.start();
});
afterAll(async () => {
  setLogSink('error');
  await server.quit();
  await watchdog.end();
});

/** What a callback has at hand. */
interface Inside {
  readonly client: RejoinClient;
  /** What keeps the callback called, where something does. */
  readonly subscription: Subscription | undefined;
}

type Action = (inside: Inside) => unknown;
const busy = (milliseconds: number): void => {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
};

/** What is done inside. Each gives a promise if there is something to wait for. */
const ACTIONS: Record<string, Action> = {
  'reads': ({ client }) => client.query('SELECT count(*) FROM task'),
  'writes': ({ client }) => client.execute('UPDATE task SET rank = rank + 1'),
  'runs a transaction': ({ client }) => client.transaction((tx) => tx.execute('UPDATE task SET rank = 0')),
  'reads a snapshot': ({ client }) => client.read((snapshot) => snapshot.query('SELECT 1')),
  'watches and leaves': async ({ client }) => {
    for await (const _ of client.watch('SELECT 1')) break;
  },
  'calls everything that does not wait': ({ client }) => {
    client.status();
    client.setNetwork({ online: true });
    client.foreground();
    client.onChange([], () => undefined).cancel();
    client.onStatus(() => undefined).cancel();
    client.watch('SELECT 1', [], { onRows: () => undefined }).cancel();
    setLogSink('trace', () => undefined);
    setLogSink('error');
  },
  'asks for the queue': ({ client }) => client.pending(),
  'steers syncing': async ({ client }) => {
    await client.stop();
    await client.credentialsChanged();
  },
  'suspends and resumes': async ({ client }) => {
    await client.suspend();
    await client.resume();
  },
  'shuts down': ({ client }) => client.shutdown(),
  'cancels itself': ({ subscription }) => subscription?.cancel(),
  'blocks': () => busy(30),
  'throws': () => {
    throw new Error('own');
  },
  'throws what is no error': () => Promise.reject(undefined as unknown as Error),
};

/** A client on which something calls back; gives a promise that is settled when the callback was called and is done with. */
type Kind = (act: Action) => Promise<void>;

async function open(services: Services = {}, config: Partial<ClientConfig> = {}): Promise<RejoinClient> {
  const path = join(place, `${(number += 1)}.db`);
  const nobody = services.tokens ?? services.transport ? { serverUrl: 'http://127.0.0.1:9', userId: 'u1' } : {};
  const client = await RejoinClient.open({ path, readers: 2, transactionIdleMs: 150, ...nobody, ...config }, services);
  if (config.serverUrl !== undefined) return client; // Its tasks are the server's.
  await client.createTable('task', 'id TEXT PRIMARY KEY, title TEXT, rank INTEGER DEFAULT 0');
  return client;
}

/** Acts once; whatever comes of it is heard, and passed on to the engine as the app would. */
function once(): { act: (action: Action, inside: Inside) => Promise<unknown>; done: Promise<void> } {
  const done = gate();
  let acted = false;
  return {
    done: done.promise,
    act(action, inside) {
      if (acted) return Promise.resolve();
      acted = true;
      try {
        const result = Promise.resolve(action(inside));
        result.then(() => done.open(), () => done.open());
        return result;
      } catch (error) {
        done.open();
        throw error;
      }
    },
  };
}

const dead: HttpTransport = { send: () => Promise.reject(new OfflineError('nobody there')) };

const KINDS: Record<string, Kind> = {
  'onRows of a watch': async (action) => {
    const client = await open();
    const { act, done } = once();
    const subscription: Subscription = client.watch('SELECT * FROM task', [], {
      onRows: () => act(action, { client, subscription }),
      onError: () => undefined,
    });
    await done;
    await finish(client);
  },
  'onError of a watch': async (action) => {
    const client = await open();
    const { act, done } = once();
    const subscription: Subscription = client.watch('SELEC', [], {
      onRows: () => undefined,
      onError: () => act(action, { client, subscription }),
    });
    await done;
    await finish(client);
  },
  'an observer of changes': async (action) => {
    const client = await open();
    const { act, done } = once();
    const subscription: Subscription = client.onChange([], () => act(action, { client, subscription }));
    await client.execute(INSERT, ['1', 'a']);
    await done;
    await finish(client);
  },
  'an observer of the status': async (action) => {
    const client = await open();
    const { act, done } = once();
    const subscription: Subscription = client.onStatus(() => act(action, { client, subscription }));
    await done;
    await finish(client);
  },
  'a token provider': async (action) => {
    const { act, done } = once();
    const client: RejoinClient = await open({
      transport: dead,
      tokens: {
        async token() {
          await act(action, { client, subscription: undefined });
          return 'token';
        },
      },
    });
    await client.start();
    await done;
    await finish(client);
  },
  'send of a transport': async (action) => {
    const { act, done } = once();
    const client: RejoinClient = await open({
      transport: {
        async send() {
          await act(action, { client, subscription: undefined });
          throw new OfflineError('nobody there');
        },
      },
    });
    await client.start();
    await done;
    await finish(client);
  },
  'disconnect of a transport': async (action) => {
    const { act, done } = once();
    const client: RejoinClient = await open({
      transport: { ...dead, disconnect: () => void act(action, { client, subscription: undefined }).catch(() => undefined) },
    });
    await client.start();
    await until(() => client.status().state.kind === 'offline', 'nobody answers');
    await client.suspend();
    await client.resume().catch(() => undefined);
    await within(done, 'disconnect is called');
    await finish(client);
  },
  'a log sink': async (action) => {
    const { act, done } = once();
    const client = await open();
    setLogSink('trace', () => act(action, { client, subscription: undefined }));
    // Something that the engine has to say.
    const disconnect = (): void => {
      throw new Error('own');
    };
    const loud = await open({ transport: { ...dead, disconnect } });
    await loud.start();
    await until(() => loud.status().state.kind === 'offline', 'nobody answers');
    await loud.suspend();
    await loud.resume();
    await done;
    setLogSink('error');
    await finish(loud);
    await finish(client);
  },
  'an observer of verdicts': async (action) => {
    const user = `user-${(number += 1)}`;
    const client = await open({}, { serverUrl: server.url, schemaJson: server.schemaJson, userId: user });
    const { act, done } = once();
    const subscription: Subscription = client.onVerdicts(() => act(action, { client, subscription }));
    await client.execute("INSERT INTO task (id, user_id, title) VALUES (?, ?, 'refused')", [user, user]);
    await client.start();
    await done;
    await finish(client);
  },
  'the code of an action': async (action) => {
    const { act, done } = once();
    const actions = new Actions().handler({ name: 'act' }, async (context) => {
      await context.execute("INSERT INTO stock (id) VALUES ('1')");
      await act(action, { client, subscription: undefined });
      await context.query('SELECT 1');
    });
    const client: RejoinClient = await open({ actions }, { schemaJson: STOCK });
    await explained(client.perform('act'), ['Action', 'Callback']);
    await done;
    await finish(client);
  },
  'the body of an edit': async (action) => {
    const client = await open({}, { schemaJson: STOCK });
    await client.execute("INSERT INTO stock (id) VALUES ('1')");
    const [mutation] = await client.pending();
    const { act, done } = once();
    await explained(client.edit(mutation?.id ?? '', () => act(action, { client, subscription: undefined })));
    await done;
    await finish(client);
  },
  'the body of a transaction': async (action) => {
    const client = await open();
    const { act, done } = once();
    const body = client.transaction(async (tx) => {
      await tx.execute(INSERT, ['1', 'a']);
      await act(action, { client, subscription: undefined });
      await tx.query('SELECT 1');
    });
    await explained(body);
    await done;
    await finish(client);
  },
  'the body of a savepoint': async (action) => {
    const client = await open();
    const { act, done } = once();
    await explained(client.transaction((tx) => tx.savepoint(() => act(action, { client, subscription: undefined }))));
    await done;
    await finish(client);
  },
  'the body of a snapshot': async (action) => {
    const client = await open();
    const { act, done } = once();
    await explained(client.read(() => act(action, { client, subscription: undefined })));
    await done;
    await finish(client);
  },
};

/** It ends, well or by something that the action explains. */
async function explained(promise: Promise<unknown>, more: readonly string[] = []): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (error === undefined || (error instanceof Error && error.message === 'own')) return;
  expect(error).toBeInstanceOf(RejoinError);
  expect(['Ended', 'Suspended', 'TransactionTimeout', ...more]).toContain((error as RejoinError).code);
}

/** The client still works, or was ended; then it ends. */
async function finish(client: RejoinClient): Promise<void> {
  await client.resume().catch(() => undefined);
  await explained(client.execute('INSERT INTO task (id, title) VALUES (?, ?)', ['afterwards', 'x']));
  await client.shutdown();
}

let pairs = 0;
describe.each(Object.keys(KINDS))('%s', (kind) => {
  test.each(Object.keys(ACTIONS))('%s', async (action) => {
    const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    watchdog.begin(`${kind}: ${action}`);
    await within((KINDS[kind] as Kind)(ACTIONS[action] as Action), `${kind}: ${action}`, 20_000);
    shown.mockRestore();
    pairs += 1;
  });
});

test('all of them were tried', () => {
  console.log(`${pairs} pairs of a callback and what it does`);
  expect(pairs).toBe(Object.keys(KINDS).length * Object.keys(ACTIONS).length);
});

test('no call that does not wait hangs while the engine waits for JavaScript', async () => {
  const actions = new Actions().handler({ name: 'act' }, (context) => context.query('SELECT 1'));
  const client = await open({ transport: dead, actions }, { transactionIdleMs: 20_000 });
  let calls = 0;
  client.onChange([], () => (calls += 1));
  client.onStatus(() => (calls += 1));
  setLogSink('trace', () => (calls += 1));
  const alive = client.watch('SELECT * FROM task', [], { onRows: () => (calls += 1) });
  for (let round = 0; round < 50; round += 1) {
    watchdog.begin(`synchronous calls, round ${round}`);
    const before = calls;
    const write = client.execute(INSERT, [String(round), 'x']);
    const performed = client.perform('act');
    const start = client.start();
    // Long enough for every thread of the engine to stand before a callback; none of them can be served.
    busy(5);
    const subscriptions = [client.onChange([], () => undefined), client.onStatus(() => undefined), client.onVerdicts(() => undefined)];
    const watch = client.watch('SELECT * FROM task', [], { onRows: () => undefined });
    client.status();
    client.setNetwork({ online: round % 2 === 0 });
    client.foreground();
    setLogSink('trace', () => (calls += 1));
    busy(2);
    for (const subscription of [...subscriptions, watch]) subscription.cancel();
    setLogSink('trace', () => (calls += 1));
    await within(Promise.all([write, performed, start]), `round ${round}`);
    await until(() => calls > before, 'the engine has called back');
  }
  alive.cancel();
  setLogSink('error');
  await finish(client);
});

test('handles that are let go while the engine calls back do not hang', async () => {
  for (let round = 0; round < 30; round += 1) {
    watchdog.begin(`letting go, round ${round}`);
    const actions = new Actions().handler({ name: 'act' }, (context) => (busy(1), context.query('SELECT 1').then(() => gate().promise)));
    const client = await open({ actions });
    client.onChange([], () => busy(1));
    client.watch('SELECT * FROM task', [], { onRows: () => busy(1) });
    const write = client.execute(INSERT, [String(round), 'x']);
    const held = client.transaction(() => gate().promise, { signal: AbortSignal.timeout(5) });
    const performed = client.perform('act');
    busy(3);
    const ended = client.shutdown();
    await within(Promise.allSettled([write, held, performed, ended]), `round ${round}`);
  }
});
