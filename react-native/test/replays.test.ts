/**
 * Actions that run again, because rows came in under them: two devices count on one task, and the second one's code is run on what the
 * server has by then. Whatever the code does then, syncing goes on.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ActionContext, Actions, type RejoinClient } from '../src/index';
import { CREATE, device, reasons, somebody, sync } from './support/devices';
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

type Then = (context: ActionContext, run: number) => unknown;

const rank = async (client: RejoinClient): Promise<number | undefined> => (await client.queryOne<{ rank: number }>('SELECT rank FROM task'))?.rank;

/** Counts by reading and writing; `then` comes before, at each run. */
function counting(then: Then = () => undefined): { actions: Actions; runs: () => number } {
  let runs = 0;
  const actions = new Actions().handler({ name: 'count', parameters: [{ name: 'n', type: 'integer' }] }, async (context, { n }) => {
    await then(context, (runs += 1));
    const before = await context.queryOne<{ rank: number }>('SELECT rank FROM task');
    await context.execute('UPDATE task SET rank = ?', [(before?.rank ?? 0) + n]);
    return (before?.rank ?? 0) + n;
  });
  return { actions, runs: () => runs };
}

/** Two devices that have counted at once on what stood at 1: the phone 10, which is on the server, and the tablet 100. */
async function countedAtOnce(then?: Then, rebaseMs = 20_000): Promise<{ user: string; tablet: RejoinClient; id: string; runs: () => number }> {
  const user = somebody();
  const mine = counting(then);
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

test('code runs again on the rows of the server, and both count', async () => {
  const seen: [string, string][] = [];
  const { user, tablet, id, runs } = await countedAtOnce((context) => void seen.push([context.mutationId, context.time]));
  await sync(tablet);
  expect(runs()).toBeGreaterThan(1);
  for (const each of seen) expect(each, 'time and id are those of the first run').toEqual([id, seen[0]?.[1]]);
  expect([await rank(tablet), await onServer(user), await reasons(tablet)]).toEqual([111, [[111]], []]);
  expect((await tablet.verdicts(10)).entries.at(-1)).toMatchObject({ id, kind: 'accepted', action: 'count' });
});

describe('code that, when it runs again,', () => {
  test.each<[string, Then, string]>([
    ['throws', () => Promise.reject(new TypeError('own words')), 'own words'],
    ['throws at once', () => { throw new TypeError('own words'); }, 'own words'],
    ['throws what is no error', () => Promise.reject(undefined as unknown as Error), 'undefined'],
    ['refuses', (context) => context.refuse('own words'), 'own words'],
    ['breaks a rule', (context) => context.execute('INSERT INTO task SELECT * FROM task'), 'task'],
  ])('%s parks its mutation, which can be retried', async (_, then, words) => {
    let well = false;
    const { user, tablet, id } = await countedAtOnce((context, run) => (run === 1 || well ? undefined : then(context, run)));
    await sync(tablet);
    expect(await tablet.pending()).toMatchObject([{ id, state: 'parked', reason: 'unreplayable', action: 'count', detail: expect.stringContaining(words) }]);
    expect([await rank(tablet), await onServer(user)]).toEqual([11, [[11]]]);
    expect((await tablet.verdicts(10)).entries.at(-1)).toMatchObject({ id, kind: 'parked', reason: 'unreplayable' });
    well = true;
    await tablet.retry(id);
    expect(await rank(tablet)).toBe(111);
    await sync(tablet);
    expect([await onServer(user), await reasons(tablet)]).toEqual([[[111]], []]);
  });

  test('never ends holds up syncing for its budget only, and is not offered as it was', async () => {
    let given = 0;
    const { user, tablet, id } = await countedAtOnce(async (context, run) => {
      context.signal.addEventListener('abort', () => (given += 1));
      if (run > 1) await gate().promise;
    }, 200);
    await sync(tablet);
    expect(await tablet.pending()).toMatchObject([{ id, state: 'parked', reason: 'conflicted' }]);
    expect([await rank(tablet), await onServer(user)]).toEqual([11, [[11]]]);
    await until(() => given > 0, 'the code is told that it was given up');
  });

  test('reads by its client sees what was committed, and both count', async () => {
    const seen: unknown[] = [];
    const { user, tablet } = await countedAtOnce(async (_, run) => {
      if (run > 1) seen.push(await tablet.queryOne('SELECT rank FROM task'), tablet.status().firstSync);
    });
    await sync(tablet);
    expect(seen.slice(0, 2)).toEqual([{ rank: 101 }, 'done']);
    expect(await onServer(user)).toEqual([[111]]);
  });

  test('writes by its client waits for itself, until its budget is spent; the write is done', async () => {
    const writes: Promise<unknown>[] = [];
    const { tablet, id } = await countedAtOnce(async (_, run) => {
      if (run === 1) return;
      writes.push(tablet.execute("UPDATE task SET note = 'by the client'"));
      await Promise.all(writes);
    }, 200);
    await sync(tablet);
    expect(await within(Promise.all(writes), 'the writes')).toEqual(writes.map(() => 1));
    expect(writes.length).toBeGreaterThan(0);
    expect((await tablet.pending()).find((one) => one.id === id)).toMatchObject({ state: 'parked' });
    expect(await tablet.queryOne('SELECT note FROM task')).toEqual({ note: 'by the client' });
  });

  test.each(['suspend', 'shutdown'] as const)('is met by %s, which does not wait for it: nothing is lost', async (how) => {
    const again = gate();
    const { user, tablet, id } = await countedAtOnce(async (_, run) => {
      if (run === 1) return;
      again.open();
      await gate().promise;
    }, 200);
    const synced = tablet.syncAndWait().then(() => 'done', (error: { code?: string }) => error.code);
    await within(again.promise, 'it runs again');
    await within(tablet[how](), how);
    expect(['Suspended', 'Ended', 'Offline', 'done']).toContain(await within(synced, 'the sync'));
    const other = counting();
    if (how === 'suspend') await tablet.shutdown();
    const reopened = await device(server, user, { path: tablet.path }, { actions: other.actions });
    expect(await reopened.pending()).toMatchObject([{ id, action: 'count' }]);
    await sync(reopened);
    if ((await reasons(reopened)).length > 0) {
      // Its budget was spent before it was met; then the server's word on what was recorded is here.
      await reopened.retry(id);
      await sync(reopened);
    }
    expect([await onServer(user), await reasons(reopened)]).toEqual([[[111]], []]);
  });
});

test('in a hundred rounds no run hangs: code that ends, throws, waits too long, and is let go', { timeout: 240_000 }, async () => {
  const rounds = 100;
  const user = somebody();
  const fates = new Map<string, number>();
  const ways: Then[] = [
    () => undefined,
    () => new Promise((resolve) => setImmediate(resolve)),
    () => Promise.reject(new Error('own')),
    (context) => context.query('SELECT 1'),
    () => gate().promise,
    (context) => new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(new Error('let go')))),
    (context) => void context.query('SELECT rank FROM task').catch(() => undefined),
    (context) => new Promise((resolve) => setTimeout(resolve, 95)).then(() => context.query('SELECT 1')),
  ];
  let way = 0;
  const { actions } = counting((context, run) => ways[(way + run) % ways.length]?.(context, run));
  const client = await device(server, user, { transactionIdleMs: 100 }, { actions });
  await client.execute(CREATE, [`${user}-1`, user, 'x']);
  await client.stop();
  for (let round = 0; round < rounds; round += 1) {
    watchdog.begin(`round ${round} of code that ends`);
    way = round;
    const performed = Array.from({ length: 4 }, () => client.perform('count', { n: 1 }).then(() => 'done', (error: { code?: string }) => String(error.code)));
    const write = client.execute('UPDATE task SET note = ?', [String(round)]).catch(() => undefined);
    // A suspension in the midst, at another moment in each round.
    if (round % 5 === 4) {
      for (let turn = 0; turn < round % 7; turn += 1) await new Promise(setImmediate);
      await within(client.suspend(), `suspending in round ${round}`);
      await within(client.resume(), `resuming in round ${round}`);
    }
    for (const fate of await within(Promise.all(performed), `round ${round}`)) fates.set(fate, (fates.get(fate) ?? 0) + 1);
    await within(write, `the write of round ${round}`);
  }
  console.log(`${rounds} rounds: ${[...fates].map(([fate, times]) => `${fate} ${times}`).join(', ')}`);
  expect([...fates.keys()].filter((fate) => !['done', 'Action', 'Callback', 'Suspended'].includes(fate))).toEqual([]);
  for (const fate of ['done', 'Action', 'Callback', 'Suspended']) expect(fates.get(fate) ?? 0, fate).toBeGreaterThan(0);
  expect(await rank(client), 'what was told done counts, and nothing else').toBe(fates.get('done'));
});
