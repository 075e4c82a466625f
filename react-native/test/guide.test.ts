/** The examples of the guide for React Native, compiled and run; the last test compares the texts. */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { provideApp } from '../src/app-state';
import { followApp, type PendingMutation, RejoinClient, RejoinConfig, type RejoinDatabase, SuspendedError } from '../src/index';
import { device, newUser, sync } from './support/devices';
import { FakeDatabase } from './support/fake';
import { expectExamples } from './support/pages';
import { StoryServer } from './support/server';
import { folder as newFolder, until } from './support/world';

type TaskItem = { id: string; title: string; state: string };

class TaskList {
  #items: readonly TaskItem[] = [];
  constructor(readonly db: RejoinDatabase) {}

  readonly subscribe = (changed: () => void): (() => void) => {
    const sql = "SELECT id, title, rejoin_row_state('tasks', id) AS state FROM tasks ORDER BY position";
    const subscription = this.db.watch<TaskItem>(sql, [], {
      onRows: (items) => ((this.#items = items), changed()),
    });
    return () => subscription.cancel();
  };
  readonly items = (): readonly TaskItem[] => this.#items;
}

/** Stands in for an object of the platform that reports events. */
class Events<T> {
  #listener: ((event: T) => void) | undefined;

  listen(listener: (event: T) => void): () => void {
    this.#listener = listener;
    return () => (this.#listener = undefined);
  }

  report(event: T): void {
    this.#listener?.(event);
  }
}

test('examples of start, background and shipping run', async () => {
  const printed = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const server = await StoryServer.start();
  const { url, schema } = server;
  const [folder, userId] = [newFolder(), 'ana'];
  const backup = join(folder, 'backup');
  mkdirSync(backup);
  const states = new Events<string>();
  const networks = new Events<{ isConnected: boolean | null; details: { isConnectionExpensive: boolean } | null }>();
  const AppState = { addEventListener: (_: 'change', listener: (state: string) => void) => ({ remove: states.listen(listener) }) };
  const NetInfo = { addEventListener: networks.listen.bind(networks) };
  provideApp({ AppState, Platform: { OS: 'ios' } });

  const path = `${folder}/user-${userId}.db`;
  const client = await RejoinClient.open({ path, server: url, userId, schema });
  await client.start(); // Syncs in the background from now on.
  await client.execute('INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), ?)', ['buy milk']);
  const tasks = await client.query<{ title: string }>('SELECT title FROM tasks ORDER BY position');
  expect(tasks).toEqual([{ title: 'buy milk' }]);

  const list = new TaskList(client);
  let changes = 0;
  const end = list.subscribe(() => (changes += 1));
  await until(() => list.items()[0]?.state === 'synced', 'the server accepts the write');
  expect(changes).toBeGreaterThan(0);

  const followed = followApp(client, { NetInfo });
  provideApp({});

  states.report('active');
  states.report('background');
  const suspended = (): Promise<boolean> => client.query('SELECT 1').then(() => false, (error) => error instanceof SuspendedError);
  await until(suspended, 'the client is suspended');
  networks.report({ isConnected: true, details: { isConnectionExpensive: true } });
  await server.sql("UPDATE tasks SET title = 'buy oat milk'");
  for (const state of ['active', 'background', 'active']) states.report(state);
  await until(() => list.items()[0]?.title === 'buy oat milk', 'the watch delivers what it missed');
  networks.report({ isConnected: false, details: null });
  await until(() => client.status().state.kind === 'offline', 'the client is offline');
  networks.report({ isConnected: true, details: { isConnectionExpensive: false } });
  await until(() => client.status().state.kind === 'up-to-date', 'the client is online');

  async function work(): Promise<boolean> {
    const report = await client.sync.run(20_000).catch(() => undefined); // For instance offline: the queue is unchanged.
    return report?.stillPending === 0;
  }
  expect(await work()).toBe(true);
  await server.order({ do: 'stop' });
  await client.execute("INSERT INTO tasks (id, title, position) VALUES ('t2', 'buy bread', 1)");
  expect(await work()).toBe(false);

  await client.sync.suspend();
  for (const part of ['', '-wal']) if (existsSync(client.path + part)) copyFileSync(client.path + part, `${backup}/app.db${part}`);
  await client.sync.resume();
  const restored = await RejoinClient.open({ path: join(backup, 'app.db') });
  expect(await restored.query('SELECT title FROM tasks ORDER BY position')).toEqual([{ title: 'buy oat milk' }, { title: 'buy bread' }]);
  expect(await restored.queue.all()).toHaveLength(1);
  await restored.shutdown();

  const confirm = vi.fn(async (_question: string) => true);
  await client.stop();
  const unsent = await client.queue.all();
  if (unsent.length === 0 || (await confirm(`${unsent.length} changes were not sent. Delete them?`))) {
    await client.storage.clearForNextUser(unsent.map(({ id }) => id));
  }
  expect(confirm).toHaveBeenCalledWith('1 changes were not sent. Delete them?');
  expect([await client.query('SELECT * FROM tasks'), await client.queue.all()]).toEqual([[], []]);

  end();
  await client.shutdown();
  states.report('active'); // Ends the subscription: the client is closed.
  await until(() => followed.isCancelled, 'the subscription ends');
  expect(printed).not.toHaveBeenCalled();
  printed.mockRestore();
  await server.quit();
});

test('example of a token provider signs in', async () => {
  const server = await StoryServer.start({ tokens: true });
  const [path, { url, schema }] = [join(newFolder(), 'a.db'), server];
  const session = { token: (_refresh: boolean): Promise<string> => server.token('ana') };

  const client = await RejoinClient.open({ path, server: url, schema }, { tokens: (refresh) => session.token(refresh) });

  await client.execute("INSERT INTO tasks (id, title) VALUES ('t1', 'buy milk')");
  expect((await client.sync.run()).accepted).toBe(1);
  await client.shutdown();
  await server.quit();
});

test('examples of a screen for conflicts run', async () => {
  const server = await StoryServer.start();
  const user = newUser();
  const [tablet, client] = [await device(server, user), await device(server, user)];
  const tooLong = 'x'.repeat(201);
  for (const id of ['t1', 't2', 't3']) await tablet.execute("INSERT INTO tasks (id, title) VALUES (?, 'first')", [id]);
  await sync(tablet, client);
  await tablet.execute("UPDATE tasks SET title = 'theirs', position = 5");
  await client.execute("UPDATE tasks SET title = 'mine' WHERE id = 't1'");
  await client.execute("UPDATE tasks SET title = 'mine too', position = 9007199254740993 WHERE id = 't2'");
  await client.execute("UPDATE tasks SET title = ? WHERE id = 't3'", [tooLong]); // In conflict first, then rejected.
  await client.execute("INSERT INTO tasks (id, title, done) VALUES ('t4', ?, TRUE)", [tooLong]);
  await client.execute("UPDATE tasks SET position = 7 WHERE id = 't4'"); // Depends on it.
  await sync(tablet, client);
  const shown: string[] = [];
  const show = (line: string): unknown => shown.push(line);

  for (const { reason, detail } of await client.queue.parked()) {
    show(`${reason} ${detail?.message ?? ''}`);
    for (const { columns, mine, theirs } of detail?.rows ?? []) {
      for (const column of columns) show(`${column}: mine ${mine?.[column]}, theirs ${theirs?.[column]}`);
    }
  }
  expect(shown).toEqual([
    expect.stringMatching(/^conflicted /),
    'title: mine mine, theirs theirs',
    expect.stringMatching(/^conflicted /),
    'title: mine mine too, theirs theirs',
    'position: mine 9007199254740993, theirs 5',
    expect.stringMatching(/^conflicted /),
    `title: mine ${tooLong}, theirs theirs`,
    expect.stringMatching(/^rejected ./),
    'depends ',
  ]);

  const keepMine = (conflict: PendingMutation): Promise<void> => client.queue.retry(conflict.id);
  const takeTheirs = (parked: PendingMutation): Promise<void> => client.queue.discard(parked.id);
  const change = async (parked: PendingMutation, id: string, title: string): Promise<void> => {
    const edited = await client.queue.edit(parked.id, (tx) => tx.execute('UPDATE tasks SET title = ? WHERE id = ?', [title, id]));
    if (edited !== undefined) await client.queue.retryChain(edited); // Those parked because of it.
  };

  type Four = [PendingMutation, PendingMutation, PendingMutation, PendingMutation];
  const [first, second, third, fourth] = (await client.queue.all()) as unknown as Four;
  expect(second.rows[0]?.columns).toContainEqual({ name: 'position', oldValue: 0, newValue: 9007199254740993n });
  await keepMine(first);
  await takeTheirs(second);
  await keepMine(third); // The long title was in conflict; now the server rejects it.
  await client.queue.retry(fourth.id); // The server rejects it again.
  await sync(client);
  const left = (await client.queue.all()).filter(({ reason }) => reason !== 'depends') as [PendingMutation, PendingMutation];
  expect(left.map(({ id, reason, attempt }) => [id, reason, attempt])).toEqual([[third.id, 'rejected', 2], [fourth.id, 'rejected', 2]]);
  await change(left[0], 't3', 'changed');
  await change(left[1], 't4', 'corrected');
  await until(async () => (await sync(client), (await client.queue.all()).length === 0), 'the server accepts what is left');
  expect(await server.rows('SELECT title, position, done FROM tasks ORDER BY id')).toEqual([
    ['mine', 5, 0],
    ['theirs', 5, 0],
    ['changed', 5, 0],
    ['corrected', 7, 1],
  ]);
  await server.quit();
});

test("examples of an app's tests run", async () => {
  const server = await StoryServer.start();
  const { schema } = server;

  const list = new TaskList(new FakeDatabase([{ id: 't1', title: 'buy milk', state: 'pending' }]));
  const end = list.subscribe(() => undefined);
  expect(list.items()).toEqual([{ id: 't1', title: 'buy milk', state: 'pending' }]);
  end();

  const client = await RejoinClient.open({ ...RejoinConfig.temporary(), schema });
  await client.execute('INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), ?)', ['buy milk']);
  expect(await client.queue.all()).toHaveLength(1);
  await client.shutdown(); // Removes the file.

  await server.quit();
});

test('each example of the guide is part of this file', () => expectExamples('../../docs/react-native.md', 'guide.test.ts', 10, true));
