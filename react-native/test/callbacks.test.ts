/**
 * Every kind of callback, combined with everything that it may do: call the client, end its own subscription or client, block, throw.
 *
 * A synchronous call that waits for the engine while the engine waits for JavaScript never returns, and no timer fires either. So the
 * watchdog is a thread.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  Actions,
  type HttpTransport,
  OfflineError,
  RejoinClient,
  type RejoinConfig,
  RejoinError,
  type Services,
  setLogger,
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
  setLogger('error');
  await server.quit();
  await watchdog.end();
});

/** What an action in a callback can use. */
interface Inside {
  readonly client: RejoinClient;
  /** The subscription of the callback, if it has one. */
  readonly subscription: Subscription | undefined;
}

type Action = (inside: Inside) => unknown;
const busy = (milliseconds: number): void => {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
};

/** The actions in a callback; each returns a promise if it is asynchronous. */
const ACTIONS: Record<string, Action> = {
  'reads': ({ client }) => client.query('SELECT count(*) FROM task'),
  'writes': ({ client }) => client.execute('UPDATE task SET rank = rank + 1'),
  'runs a transaction': ({ client }) => client.transaction((tx) => tx.execute('UPDATE task SET rank = 0')),
  'reads a snapshot': ({ client }) => client.read((snapshot) => snapshot.query('SELECT 1')),
  'watches and leaves': async ({ client }) => {
    for await (const _ of client.watch('SELECT 1')) break;
  },
  'makes every synchronous call': ({ client }) => {
    client.status();
    client.sync.setNetwork({ online: true });
    client.sync.foreground();
    client.onChange([], () => undefined).cancel();
    client.onStatus(() => undefined).cancel();
    client.watch('SELECT 1', [], { onRows: () => undefined }).cancel();
    setLogger('trace', () => undefined);
    setLogger('error');
  },
  'reads the queue': ({ client }) => client.queue.all(),
  'controls syncing': async ({ client }) => {
    await client.stop();
    await client.sync.credentialsChanged();
  },
  'suspends and resumes': async ({ client }) => {
    await client.sync.suspend();
    await client.sync.resume();
  },
  'shuts down': ({ client }) => client.shutdown(),
  'cancels itself': ({ subscription }) => subscription?.cancel(),
  'blocks': () => busy(30),
  'throws': () => {
    throw new Error('own');
  },
  'throws a non-error': () => Promise.reject(undefined as unknown as Error),
};

/** Sets up a client with one kind of callback that runs the action; settled when the callback has ended. */
type Kind = (act: Action) => Promise<void>;

async function open(services: Services = {}, config: Partial<RejoinConfig> = {}): Promise<RejoinClient> {
  const path = join(place, `${(number += 1)}.db`);
  const unreachable = services.tokens ?? services.transport ? { server: 'http://127.0.0.1:9', userId: 'u1' } : {};
  const client = await RejoinClient.open({ path, readers: 2, transactionIdleMs: 150, ...unreachable, ...config }, services);
  if (config.server !== undefined) return client; // The schema has the table `task`.
  await client.schema.createTable('task', 'id TEXT PRIMARY KEY, title TEXT, rank INTEGER DEFAULT 0');
  return client;
}

/** Runs an action in the first call only, and passes its result or error to the engine as an app would. */
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

const offline: HttpTransport = { send: () => Promise.reject(new OfflineError('no server')) };

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
      transport: offline,
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
          throw new OfflineError('no server');
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
      transport: { ...offline, disconnect: () => void act(action, { client, subscription: undefined }).catch(() => undefined) },
    });
    await client.start();
    await until(() => client.status().state.kind === 'offline', 'the status is offline');
    await client.sync.suspend();
    await client.sync.resume().catch(() => undefined);
    await within(done, 'disconnect is called');
    await finish(client);
  },
  'a logger': async (action) => {
    const { act, done } = once();
    const client = await open();
    setLogger('trace', () => act(action, { client, subscription: undefined }));
    // Makes the engine log an error.
    const disconnect = (): void => {
      throw new Error('own');
    };
    const failing = await open({ transport: { ...offline, disconnect } });
    await failing.start();
    await until(() => failing.status().state.kind === 'offline', 'the status is offline');
    await failing.sync.suspend();
    await failing.sync.resume();
    await done;
    setLogger('error');
    await finish(failing);
    await finish(client);
  },
  'an observer of verdicts': async (action) => {
    const user = `user-${(number += 1)}`;
    const client = await open({}, { server: server.url, schema: server.schema, userId: user });
    const { act, done } = once();
    const subscription: Subscription = client.queue.onVerdicts(() => act(action, { client, subscription }));
    await client.execute("INSERT INTO task (id, user_id, title) VALUES (?, ?, 'refused')", [user, user]);
    await client.start();
    await done;
    await finish(client);
  },
  'a handler of an action': async (action) => {
    const { act, done } = once();
    const actions = new Actions().handler({ name: 'act' }, async (context) => {
      await context.execute("INSERT INTO stock (id) VALUES ('1')");
      await act(action, { client, subscription: undefined });
      await context.query('SELECT 1');
    });
    const client: RejoinClient = await open({ actions }, { schema: STOCK });
    await expectAllowedOutcome(client.perform('act'), ['Action', 'Callback']);
    await done;
    await finish(client);
  },
  'the body of an edit': async (action) => {
    const client = await open({}, { schema: STOCK });
    await client.execute("INSERT INTO stock (id) VALUES ('1')");
    const [mutation] = await client.queue.all();
    const { act, done } = once();
    await expectAllowedOutcome(client.queue.edit(mutation?.id ?? '', () => act(action, { client, subscription: undefined })));
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
    await expectAllowedOutcome(body);
    await done;
    await finish(client);
  },
  'the body of a savepoint': async (action) => {
    const client = await open();
    const { act, done } = once();
    await expectAllowedOutcome(client.transaction((tx) => tx.savepoint(() => act(action, { client, subscription: undefined }))));
    await done;
    await finish(client);
  },
  'the body of a snapshot': async (action) => {
    const client = await open();
    const { act, done } = once();
    await expectAllowedOutcome(client.read(() => act(action, { client, subscription: undefined })));
    await done;
    await finish(client);
  },
};

/** Waits for a promise, which may fail only with an error that an action can cause. */
async function expectAllowedOutcome(promise: Promise<unknown>, more: readonly string[] = []): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (error === undefined || (error instanceof Error && error.message === 'own')) return;
  expect(error).toBeInstanceOf(RejoinError);
  expect(['Closed', 'Suspended', 'TransactionTimeout', ...more]).toContain((error as RejoinError).code);
}

/** Checks that the client works or was shut down, and shuts it down. */
async function finish(client: RejoinClient): Promise<void> {
  await client.sync.resume().catch(() => undefined);
  await expectAllowedOutcome(client.execute('INSERT INTO task (id, title) VALUES (?, ?)', ['afterwards', 'x']));
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

test('every callback was combined with every action', () => {
  console.log(`${pairs} pairs of a callback and an action`);
  expect(pairs).toBe(Object.keys(KINDS).length * Object.keys(ACTIONS).length);
});

test('synchronous calls return while the engine calls JavaScript', async () => {
  const actions = new Actions().handler({ name: 'act' }, (context) => context.query('SELECT 1'));
  const client = await open({ transport: offline, actions }, { transactionIdleMs: 20_000 });
  let calls = 0;
  client.onChange([], () => (calls += 1));
  client.onStatus(() => (calls += 1));
  setLogger('trace', () => (calls += 1));
  const alive = client.watch('SELECT * FROM task', [], { onRows: () => (calls += 1) });
  for (let round = 0; round < 50; round += 1) {
    watchdog.begin(`synchronous calls, round ${round}`);
    const before = calls;
    const write = client.execute(INSERT, [String(round), 'x']);
    const performed = client.perform('act');
    const start = client.start();
    // Long enough for every engine thread to block in a callback, none of which JavaScript can serve now.
    busy(5);
    const subscriptions = [client.onChange([], () => undefined), client.onStatus(() => undefined), client.queue.onVerdicts(() => undefined)];
    const watch = client.watch('SELECT * FROM task', [], { onRows: () => undefined });
    client.status();
    client.sync.setNetwork({ online: round % 2 === 0 });
    client.sync.foreground();
    setLogger('trace', () => (calls += 1));
    busy(2);
    for (const subscription of [...subscriptions, watch]) subscription.cancel();
    setLogger('trace', () => (calls += 1));
    await within(Promise.all([write, performed, start]), `round ${round}`);
    await until(() => calls > before, 'the engine has called back');
  }
  alive.cancel();
  setLogger('error');
  await finish(client);
});

test('handles released during callbacks do not hang', async () => {
  for (let round = 0; round < 30; round += 1) {
    watchdog.begin(`releasing handles, round ${round}`);
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
