/**
 * Actions that run again after remote changes: two devices increment one task, and the handler of the second runs again on the server's row.
 * Syncing continues whatever the handler does in that run.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ActionContext, Actions, type RejoinClient } from '../src/index';
import { CREATE, device, reasons, newUser, sync } from './support/devices';
import { StoryServer } from './support/server';
import { gate, until, within } from './support/world';
import { Watchdog } from './support/watchdog';

let server: StoryServer;
let watchdog: Watchdog;
beforeAll(async () => {
  watchdog = new Watchdog(30_000);
  server = await StoryServer.start();
});
beforeEach(({ task }) => watchdog.begin(task.name));
afterAll(async () => {
  await server.quit();
  await watchdog.end();
});

type Hook = (context: ActionContext, run: number) => unknown;

const rank = async (client: RejoinClient): Promise<number | undefined> => (await client.queryOne<{ rank: number }>('SELECT rank FROM task'))?.rank;

/** An action that increments by reading and writing; `hook` runs first in each run. */
function counting(hook: Hook = () => undefined): { actions: Actions; runs: () => number } {
  let runs = 0;
  const actions = new Actions().handler({ name: 'count', parameters: [{ name: 'n', type: 'integer' }] }, async (context, { n }) => {
    await hook(context, (runs += 1));
    const before = await context.queryOne<{ rank: number }>('SELECT rank FROM task');
    await context.execute('UPDATE task SET rank = ?', [(before?.rank ?? 0) + n]);
    return (before?.rank ?? 0) + n;
  });
  return { actions, runs: () => runs };
}

/** Two devices that both incremented the value 1: the phone by 10, which is on the server, and the tablet by 100, which is pending. */
async function concurrentCounts(hook?: Hook, rebaseMs = 20_000): Promise<{ user: string; tablet: RejoinClient; id: string; runs: () => number }> {
  const user = newUser();
  const mine = counting(hook);
  const config = { actionBudget: { rebaseMs }, transactionIdleMs: 2_000 };
  const phone = await device(server, user, {}, { actions: counting().actions });
  const tablet = await device(server, user, config, { actions: mine.actions });
  await phone.execute(CREATE, [`${user}-1`, user, 'x']);
  await phone.execute('UPDATE task SET rank = 1');
  await sync(phone, tablet);
  expect((await phone.perform('count', { n: 10 })).value).toBe(11);
  const performed = await tablet.perform('count', { n: 100 });
  expect(performed.value).toBe(101);
  await sync(phone);
  expect(await onServer(user)).toEqual([[11]]);
  return { user, tablet, id: performed.id ?? '', runs: mine.runs };
}

const onServer = (user: string): Promise<unknown[][]> => server.rows(`SELECT rank FROM task WHERE user_id = '${user}'`);

test('handler runs again on server rows and both increments count', async () => {
  const contexts: [string, string][] = [];
  const { user, tablet, id, runs } = await concurrentCounts((context) => void contexts.push([context.mutationId, context.time]));
  await sync(tablet);
  expect(runs()).toBeGreaterThan(1);
  for (const each of contexts) expect(each, 'time and id are those of the first run').toEqual([id, contexts[0]?.[1]]);
  expect([await rank(tablet), await onServer(user), await reasons(tablet)]).toEqual([111, [[111]], []]);
  expect((await tablet.queue.verdicts(10)).entries.at(-1)).toMatchObject({ id, kind: 'accepted', action: 'count' });
});

describe('second run', () => {
  test.each<[string, Hook, string]>([
    ['rejects', () => Promise.reject(new TypeError('own message')), 'own message'],
    ['throws', () => { throw new TypeError('own message'); }, 'own message'],
    ['throws a non-error', () => Promise.reject(undefined as unknown as Error), 'undefined'],
    ['refuses', (context) => context.refuse('own message'), 'own message'],
    ['violates a constraint', (context) => context.execute('INSERT INTO task SELECT * FROM task'), 'task'],
  ])('that %s parks the mutation, which can be retried', async (_, hook, message) => {
    let succeeds = false;
    const { user, tablet, id } = await concurrentCounts((context, run) => (run === 1 || succeeds ? undefined : hook(context, run)));
    await sync(tablet);
    expect(await tablet.queue.all()).toMatchObject([{ id, state: 'parked', reason: 'unreplayable', action: 'count', detail: { message: expect.stringContaining(message) } }]);
    expect([await rank(tablet), await onServer(user)]).toEqual([11, [[11]]]);
    expect((await tablet.queue.verdicts(10)).entries.at(-1)).toMatchObject({ id, kind: 'parked', reason: 'unreplayable' });
    succeeds = true;
    await tablet.queue.retry(id);
    expect(await rank(tablet)).toBe(111);
    await sync(tablet);
    expect([await onServer(user), await reasons(tablet)]).toEqual([[[111]], []]);
  });

  test('that never ends delays syncing only for its budget', async () => {
    let aborted = 0;
    const { user, tablet, id } = await concurrentCounts(async (context, run) => {
      context.signal.addEventListener('abort', () => (aborted += 1));
      if (run > 1) await gate().promise;
    }, 200);
    await sync(tablet);
    expect(await tablet.queue.all()).toMatchObject([{ id, state: 'parked', reason: 'conflicted' }]);
    expect([await rank(tablet), await onServer(user)]).toEqual([11, [[11]]]);
    await until(() => aborted > 0, 'the signal of the handler is aborted');
  });

  test('that reads through the client sees committed rows', async () => {
    const found: unknown[] = [];
    const { user, tablet } = await concurrentCounts(async (_, run) => {
      if (run > 1) found.push(await tablet.queryOne('SELECT rank FROM task'), tablet.status().firstSync);
    });
    await sync(tablet);
    expect(found.slice(0, 2)).toEqual([{ rank: 101 }, 'done']);
    expect(await onServer(user)).toEqual([[111]]);
  });

  test('that writes through the client ends by its budget', async () => {
    const writes: Promise<unknown>[] = [];
    const { tablet, id } = await concurrentCounts(async (_, run) => {
      if (run === 1) return;
      writes.push(tablet.execute("UPDATE task SET note = 'by the client'"));
      await Promise.all(writes);
    }, 200);
    await sync(tablet);
    expect(await within(Promise.all(writes), 'the writes')).toEqual(writes.map(() => 1));
    expect(writes.length).toBeGreaterThan(0);
    expect((await tablet.queue.all()).find((one) => one.id === id)).toMatchObject({ state: 'parked' });
    expect(await tablet.queryOne('SELECT note FROM task')).toEqual({ note: 'by the client' });
  });

  test.each(['suspend', 'shutdown'] as const)('does not delay %s, and nothing is lost', async (how) => {
    const again = gate();
    const { user, tablet, id } = await concurrentCounts(async (_, run) => {
      if (run === 1) return;
      again.open();
      await gate().promise;
    }, 200);
    const synced = tablet.sync.run().then(() => 'done', (error: { code?: string }) => error.code);
    await within(again.promise, 'it runs again');
    await within(how === 'suspend' ? tablet.sync.suspend() : tablet.shutdown(), how);
    expect(['Suspended', 'Closed', 'Offline', 'done']).toContain(await within(synced, 'the sync'));
    const other = counting();
    if (how === 'suspend') await tablet.shutdown();
    const reopened = await device(server, user, { path: tablet.path }, { actions: other.actions });
    expect(await reopened.queue.all()).toMatchObject([{ id, action: 'count' }]);
    await sync(reopened);
    if ((await reasons(reopened)).length > 0) {
      // The budget ended before the call; then the recorded writes were sent, and their verdict is a conflict.
      await reopened.queue.retry(id);
      await sync(reopened);
    }
    expect([await onServer(user), await reasons(reopened)]).toEqual([[[111]], []]);
  });
});

test('no action hangs in 100 rounds of mixed handlers', { timeout: 240_000 }, async () => {
  const rounds = 100;
  const user = newUser();
  const outcomes = new Map<string, number>();
  const hooks: Hook[] = [
    () => undefined,
    () => new Promise((resolve) => setImmediate(resolve)),
    () => Promise.reject(new Error('own')),
    (context) => context.query('SELECT 1'),
    () => gate().promise,
    (context) => new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(new Error('aborted')))),
    (context) => void context.query('SELECT rank FROM task').catch(() => undefined),
    (context) => new Promise((resolve) => setTimeout(resolve, 95)).then(() => context.query('SELECT 1')),
  ];
  let first = 0;
  const { actions } = counting((context, run) => hooks[(first + run) % hooks.length]?.(context, run));
  const client = await device(server, user, { transactionIdleMs: 100 }, { actions });
  await client.execute(CREATE, [`${user}-1`, user, 'x']);
  await client.stop();
  for (let round = 0; round < rounds; round += 1) {
    watchdog.begin(`round ${round} of mixed handlers`);
    first = round;
    const performed = Array.from({ length: 4 }, () => client.perform('count', { n: 1 }).then(() => 'done', (error: { code?: string }) => String(error.code)));
    const write = client.execute('UPDATE task SET note = ?', [String(round)]).catch(() => undefined);
    // Suspends in some rounds, at a different moment in each.
    if (round % 5 === 4) {
      for (let turn = 0; turn < round % 7; turn += 1) await new Promise(setImmediate);
      await within(client.sync.suspend(), `suspending in round ${round}`);
      await within(client.sync.resume(), `resuming in round ${round}`);
    }
    for (const outcome of await within(Promise.all(performed), `round ${round}`)) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    await within(write, `the write of round ${round}`);
  }
  console.log(`${rounds} rounds: ${[...outcomes].map(([outcome, times]) => `${outcome} ${times}`).join(', ')}`);
  expect([...outcomes.keys()].filter((outcome) => !['done', 'Action', 'Callback', 'Suspended'].includes(outcome))).toEqual([]);
  for (const outcome of ['done', 'Action', 'Callback', 'Suspended']) expect(outcomes.get(outcome) ?? 0, outcome).toBeGreaterThan(0);
  expect(await rank(client), 'only the fulfilled calls count').toBe(outcomes.get('done'));
});
