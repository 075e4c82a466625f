/** What an app decides of its mutations, and how it hears of their ends: devices and the real server. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ChangedError, EndedError, fetchTransport, type HttpTransport, InvalidInputError, RejoinClient, StandsOnError, UnsentError, type Verdicts } from '../src/index';
import { CREATE, device, reasons, somebody, sync, titles, wrote } from './support/devices';
import { StoryServer } from './support/server';
import { gate, opened, until, within } from './support/world';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

const onServer = async (user: string): Promise<unknown[]> =>
  (await server.rows(`SELECT title FROM task WHERE user_id = '${user}' AND deleted_at IS NULL ORDER BY id`)).flat();

const caught = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => 'no error', (error: unknown) => error);

/** A device of which the server refused a create, with an edit upon it; their ids. */
async function refused(): Promise<{ user: string; phone: RejoinClient; create: string; edit: string }> {
  const user = somebody();
  const phone = await device(server, user);
  const create = await wrote(phone, CREATE, [`${user}-1`, user, 'refused']);
  const edit = await wrote(phone, "UPDATE task SET note = 'more'");
  await sync(phone);
  expect(await reasons(phone)).toEqual(['rejected', 'depends']);
  return { user, phone, create, edit };
}

/** Two devices that have changed one title; the tablet's is parked. */
async function conflict(): Promise<{ user: string; phone: RejoinClient; tablet: RejoinClient; id: string }> {
  const user = somebody();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  await phone.execute(CREATE, [`${user}-1`, user, 'first']);
  await sync(phone, tablet);
  await phone.execute("UPDATE task SET title = 'by the phone'");
  const id = await wrote(tablet, "UPDATE task SET title = 'by the tablet'");
  await sync(phone, tablet);
  expect(await reasons(tablet)).toEqual(['conflicted']);
  expect(await titles(tablet)).toEqual(['by the phone']);
  return { user, phone, tablet, id };
}

describe('what is parked', () => {
  test('a conflict that the user has looked at ends by his word', async () => {
    const { user, tablet, id } = await conflict();
    expect(JSON.parse((await tablet.pending())[0]?.detail ?? '')).toBeTypeOf('object');
    await tablet.retry(id);
    expect(await titles(tablet)).toEqual(['by the tablet']);
    expect(await tablet.pending()).toMatchObject([{ id, state: 'pending', attempt: 2 }]);
    await sync(tablet);
    expect([await reasons(tablet), await onServer(user)]).toEqual([[], ['by the tablet']]);
    expect(await caught(tablet.retry(id))).toBeInstanceOf(InvalidInputError);
    expect(await caught(tablet.retry('no such thing'))).toBeInstanceOf(InvalidInputError);
  });

  test('an edit of a refused create cannot be retried alone, and the create is named', async () => {
    const { phone, create, edit } = await refused();
    const error = await caught(phone.retry(edit));
    expect(error).toBeInstanceOf(StandsOnError);
    expect(error).toMatchObject({ code: 'StandsOn', id: create });
    expect(await phone.retryChain(create)).toEqual([create, edit]);
    expect(await reasons(phone)).toEqual([undefined, undefined]);
    expect(await caught(phone.retryChain('no such thing'))).toBeInstanceOf(InvalidInputError);
  });

  test('a chain is mended at its root, by code, and offered again', async () => {
    const { user, phone, create, edit } = await refused();
    const mended = await phone.edit(create, async (tx) => {
      expect(await tx.queryOne('SELECT title FROM task')).toEqual({ title: 'refused' });
      await tx.execute("UPDATE task SET title = 'good'");
    });
    expect(mended).not.toBe(create);
    expect(await phone.retryChain(mended ?? '')).toEqual([edit]);
    await sync(phone);
    expect([await reasons(phone), await onServer(user)]).toEqual([[], ['good']]);
  });

  test('it is mended by statements, and nothing is left of one that is emptied', async () => {
    const { user, phone, create } = await refused();
    const mended = await phone.edit(create, [{ sql: 'UPDATE task SET title = ?', params: ['good'] }]);
    await sync(phone);
    expect([await onServer(user), (await phone.history(1))[0]?.id]).toEqual([['good'], mended]);
    const other = await wrote(phone, "UPDATE task SET title = 'other'");
    expect(await phone.edit(other, (tx) => tx.execute("UPDATE task SET title = 'good'"))).toBeUndefined();
  });

  test('an edit whose body throws, is aborted, or has no mutation, changes nothing', async () => {
    const { phone, create, edit } = await refused();
    const own = new Error('own');
    const before = await phone.pending();
    expect(await caught(phone.edit(create, () => Promise.reject(own)))).toBe(own);
    const controller = new AbortController();
    const hanging = caught(
      phone.edit(create, async (tx) => (await tx.execute("UPDATE task SET title = 'x'"), controller.abort(own), gate().promise), {
        signal: controller.signal,
      }),
    );
    expect(await within(hanging, 'the abort')).toBe(own);
    expect(await caught(phone.edit(create, [{ sql: 'SELEC' }]))).toBeInstanceOf(InvalidInputError);
    expect(await caught(phone.edit('no such thing', () => 1))).toBeInstanceOf(InvalidInputError);
    expect(await phone.pending()).toEqual(before);
    expect(await phone.discardChain(create)).toEqual([create, edit]);
    expect(await caught(phone.discardChain(create))).toBeInstanceOf(InvalidInputError);
    expect(await caught(phone.edit(create, () => 1))).toBeInstanceOf(InvalidInputError);
    expect(await phone.pending()).toEqual([]);
  });

  test('a device has a policy of its own for a table', async () => {
    for (const [policy, title] of [['rebase', 'mine'], ['accept-server', 'theirs'], ['manual', 'theirs']] as const) {
      const user = somebody();
      const [one, two] = [await device(server, user), await device(server, user, { policies: { task: policy } })];
      await one.execute(CREATE, [`${user}-1`, user, 'first']);
      await sync(one, two);
      await one.execute("UPDATE task SET title = 'theirs'");
      await two.execute("UPDATE task SET title = 'mine'");
      await sync(one, two);
      expect(await onServer(user), policy).toEqual([title]);
      const detail = (await two.pending())[0]?.detail;
      expect(detail?.includes('"before"') ?? false, policy).toBe(policy === 'manual');
    }
    expect(await caught(opened({ policies: { task: 'mine' as never } }))).toMatchObject({ code: 'Configuration', message: expect.stringContaining('task is mine') });
  });
});

describe('verdicts', () => {
  test('are told until they are acknowledged, also after a restart', async () => {
    const { phone, create, edit } = await refused();
    const { entries, missed } = await phone.verdicts(10);
    const [first, second] = entries;
    expect([entries.length, missed]).toEqual([2, 0]);
    expect(first).toMatchObject({ id: create, attempt: 1, kind: 'parked', reason: 'rejected', detail: expect.any(String) });
    expect(second).toMatchObject({ id: edit, kind: 'parked', reason: 'depends', becauseOf: create });
    expect(first).not.toHaveProperty('action');
    expect(Math.abs((first?.atMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect((await phone.verdicts(1)).entries).toEqual([first]);
    await phone.acknowledgeVerdicts(first?.number ?? 0);
    await phone.shutdown();
    const again = await opened({ path: phone.path });
    expect((await again.verdicts(10)).entries).toEqual([second]);
    for (const most of [-1, 1.5, NaN, 2 ** 32]) expect(await caught(again.verdicts(most))).toBeInstanceOf(InvalidInputError);
    expect(await caught(again.acknowledgeVerdicts(0.5))).toBeInstanceOf(InvalidInputError);
  });

  test('a loop gets what is not acknowledged, and then what comes, each once', async () => {
    const { user, phone, create, edit } = await refused();
    const told: string[] = [];
    const loop = (async () => {
      for await (const { entries } of phone.watchVerdicts()) {
        told.push(...entries.map(({ id, kind }) => `${id} ${kind}`));
        await phone.acknowledgeVerdicts(entries.at(-1)?.number ?? 0);
        if (told.length === 3) break;
      }
    })();
    await until(() => told.length === 2, 'what is there');
    const id = await wrote(phone, CREATE, [`${user}-2`, user, 'good']);
    await sync(phone);
    await within(loop, 'what comes');
    expect(told).toEqual([`${create} parked`, `${edit} parked`, `${id} accepted`]);
    expect((await phone.verdicts(10)).entries).toEqual([]);
  });

  test('a slow loop gets what came meanwhile together, and each loop hears all', async () => {
    const user = somebody();
    const phone = await device(server, user);
    const slow = phone.watchVerdicts()[Symbol.asyncIterator]();
    const heard: Verdicts[] = [];
    phone.onVerdicts((verdicts) => heard.push(verdicts));
    const first = slow.next();
    const ids: string[] = [];
    for (let at = 0; at < 5; at += 1) {
      ids.push(await wrote(phone, CREATE, [`${user}-${at}`, user, 'x']));
      await sync(phone);
    }
    await until(() => heard.flatMap(({ entries }) => entries).length === 5, 'the observer hears all');
    const gathered = [...((await within(first, 'the first')).value?.entries ?? [])];
    while (gathered.length < 5) gathered.push(...((await within(slow.next(), 'the rest')).value?.entries ?? []));
    expect(gathered.map(({ id }) => id)).toEqual(ids);
    expect(gathered).toEqual(heard.flatMap(({ entries }) => entries));
    await slow.return?.();
    expect(await slow.next()).toEqual({ done: true, value: undefined });
  });

  test('a loop ends with its signal, with its client, and where it cannot begin', async () => {
    const user = somebody();
    const phone = await device(server, user);
    const controller = new AbortController();
    const aborted = phone.watchVerdicts({ signal: controller.signal })[Symbol.asyncIterator]();
    const [one, two] = [aborted.next(), aborted.next()];
    controller.abort();
    for (const next of [one, two, aborted.next()]) expect(await within(next, 'the abort')).toEqual({ done: true, value: undefined });
    expect(await phone.watchVerdicts({ signal: AbortSignal.abort() })[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
    const waits = phone.watchVerdicts()[Symbol.asyncIterator]().next();
    await phone.shutdown();
    expect(await within(waits, 'the end')).toEqual({ done: true, value: undefined });
    expect(await caught(phone.watchVerdicts()[Symbol.asyncIterator]().next())).toBeInstanceOf(EndedError);
  });

  test('an observer that throws is shown on the console, and hears the next', async () => {
    const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const { user, phone } = await refused();
    let calls = 0;
    const subscription = phone.onVerdicts(() => {
      calls += 1;
      throw new Error('own');
    });
    await until(() => calls === 1, 'what is there');
    await wrote(phone, CREATE, [`${user}-2`, user, 'good']);
    await sync(phone);
    await until(() => calls === 2, 'what comes');
    subscription.cancel();
    expect(shown.mock.calls.map(([words]) => String(words))).toEqual(Array.from({ length: 2 }, () => 'rejoin: an observer of verdicts threw'));
    shown.mockRestore();
  });

  test('what was given up on its way ends withdrawn', async () => {
    const user = somebody();
    const real = fetchTransport();
    let losing = true;
    const transport: HttpTransport = {
      async send(request, signal) {
        const answer = await real.send(request, signal);
        if (losing && request.url.endsWith('/push')) throw new Error('the answer is lost');
        return answer;
      },
    };
    const phone = await device(server, user, {}, { transport });
    await sync(phone);
    const id = await wrote(phone, CREATE, [`${user}-1`, user, 'sent']);
    expect(await caught(phone.syncAndWait())).toMatchObject({ code: 'Offline' });
    await phone.stop();
    losing = false;
    expect(await onServer(user)).toEqual(['sent']);
    expect(await phone.pending()).toMatchObject([{ id, state: 'uncertain' }]);
    await phone.discard(id);
    expect([await titles(phone), await phone.pending()]).toEqual([[], []]);
    await sync(phone);
    const [withdrawn, back] = (await phone.verdicts(10)).entries;
    expect(withdrawn).toMatchObject({ id, kind: 'withdrawn', becauseOf: back?.id });
    expect(back).toMatchObject({ kind: 'accepted' });
    expect(await onServer(user)).toEqual([]);
  });
});

describe('what was accepted', () => {
  test('is shown, taken back, done again, and forgotten', async () => {
    const user = somebody();
    const phone = await device(server, user);
    await phone.execute(CREATE, [`${user}-1`, user, 'one']);
    await sync(phone);
    const waits = await wrote(phone, "UPDATE task SET title = 'two'");
    expect(await phone.undo(waits)).toEqual({ kind: 'given-up' });
    const edit = await wrote(phone, "UPDATE task SET title = 'two', rank = 9");
    await sync(phone);
    const [newest] = await phone.history(1, { integers: 'bigint' });
    expect(newest).toMatchObject({ id: edit, attempt: 1, rows: [{ table: 'task', operation: 'update' }] });
    expect(newest?.rows[0]?.columns).toContainEqual({ name: 'rank', oldValue: 0n, newValue: 9n });
    expect([newest?.acceptedMs ?? 0, newest?.seq ?? 0].every((number) => number > 0)).toBe(true);
    expect(newest).not.toHaveProperty('undoes');
    const undone = await phone.undo(edit);
    expect(undone).toMatchObject({ kind: 'by', id: expect.any(String) });
    expect(await titles(phone)).toEqual(['one']);
    await sync(phone);
    expect([await onServer(user), (await phone.history(1))[0]?.undoes]).toEqual([['one'], edit]);
    expect(await phone.redo(edit)).toMatchObject({ kind: 'by' });
    expect(await caught(phone.redo(edit))).toBeInstanceOf(InvalidInputError);
    await sync(phone);
    expect(await onServer(user)).toEqual(['two']);
    expect((await phone.history(100)).length).toBe(4);
    expect(await phone.prune({ count: 1 })).toBe(3);
    expect(await phone.prune()).toBe(0);
    const wrong = [() => phone.undo(edit), () => phone.redo(edit), () => phone.undo('no such thing'), () => phone.prune({ bytes: -1 }), () => phone.history(-1)];
    for (const call of wrong) {
      expect(await caught(call())).toBeInstanceOf(InvalidInputError);
    }
  });

  test('what has changed since is not taken back, and the rows are shown', async () => {
    const { user, phone, tablet } = await conflict();
    const [accepted] = await phone.history(1);
    await sync(phone);
    await tablet.execute("UPDATE task SET title = 'later', rank = 9007199254740993");
    await sync(tablet, phone);
    const error = await caught(phone.undo(accepted?.id ?? ''));
    expect(error).toBeInstanceOf(ChangedError);
    const { rows } = error as ChangedError;
    expect(rows).toMatchObject([{ table: 'task', key: `${user}-1`, columns: ['title'], wrote: { title: 'by the phone' }, present: { title: 'later' } }]);
    expect(rows[0]?.present).toMatchObject({ rank: 9007199254740993n });
    expect(await onServer(user)).toEqual(['later']);
    await tablet.execute('DELETE FROM task');
    await sync(tablet, phone);
    expect(((await caught(phone.undo(accepted?.id ?? ''))) as ChangedError).rows[0]).not.toHaveProperty('present');
  });
});

describe('a reset', () => {
  test('gives nothing up that is not named', async () => {
    const user = somebody();
    const phone = await device(server, user);
    await phone.execute(CREATE, [`${user}-1`, user, 'kept']);
    await sync(phone);
    await phone.createTable('draft', 'id TEXT');
    await phone.execute("INSERT INTO draft VALUES ('d')");
    const id = await wrote(phone, CREATE, [`${user}-2`, user, 'unsent']);
    for (const keep of ['local', 'nothing'] as const) {
      const error = await caught(phone.reset(keep));
      expect(error).toBeInstanceOf(UnsentError);
      expect(error).toMatchObject({ code: 'Unsent', waiting: 1 });
    }
    expect(await caught(phone.reset('pending', [id]))).toBeInstanceOf(InvalidInputError);
    expect(await caught(phone.reset('everything' as never))).toMatchObject({ code: 'InvalidInput', message: expect.stringContaining('everything') });
    expect(await titles(phone)).toEqual(['kept', 'unsent']);
    const watched: number[] = [];
    phone.watch('SELECT id FROM task', [], { onRows: (rows) => watched.push(rows.length) });
    expect(await phone.reset('pending')).toMatchObject({ givenUp: [], localRows: 0 });
    await sync(phone);
    expect([await titles(phone), await onServer(user)]).toEqual([['kept', 'unsent'], ['kept', 'unsent']]);
    const lost = await wrote(phone, "UPDATE task SET title = 'lost', rank = 7 WHERE title = 'kept'");
    const report = await phone.reset('local', [lost], { integers: 'bigint' });
    expect([report.rows, report.localRows, report.givenUp.map((one) => one.id)]).toEqual([2, 0, [lost]]);
    expect(report.givenUp[0]?.rows[0]?.columns).toContainEqual({ name: 'rank', oldValue: 0n, newValue: 7n });
    await until(() => watched.at(-1) === 0, 'a watch goes on');
    expect([await titles(phone), await phone.query('SELECT id FROM draft')]).toEqual([[], [{ id: 'd' }]]);
    expect((await phone.reset('nothing')).localRows).toBe(1);
  });

  test('lets the next user take the file', async () => {
    const [ana, ben] = [somebody(), somebody()];
    const tokens = await StoryServer.start({ tokens: true });
    let user = ana;
    const provider = { token: () => tokens.token(user) };
    const config = { serverUrl: tokens.url, schemaJson: tokens.schemaJson, syncIntervalMs: 3_600_000, pushDebounceMs: 0 };
    const phone = await opened(config, { tokens: provider });
    await phone.execute(CREATE, [`${ana}-1`, ana, "ana's"]);
    await sync(phone);
    const unsent = await wrote(phone, CREATE, [`${ana}-2`, ana, 'unsent']);
    user = ben;
    expect(await caught(phone.syncAndWait())).toMatchObject({ code: 'WrongUser' });
    expect(await caught(phone.reset('local'))).toBeInstanceOf(UnsentError);
    await phone.reset('local', [unsent]);
    await phone.execute(CREATE, [`${ben}-1`, ben, "ben's"]);
    await sync(phone);
    expect(await titles(phone)).toEqual(["ben's"]);
    expect(await tokens.rows('SELECT user_id, title FROM task ORDER BY title')).toEqual([[ana, "ana's"], [ben, "ben's"]]);
    await phone.shutdown();
    await tokens.quit();
  });
});

test('a client that has ended decides nothing', async () => {
  const client = await opened();
  await client.shutdown();
  const calls: (() => Promise<unknown>)[] = [
    () => client.perform('x'),
    () => client.retry('x'),
    () => client.retryChain('x'),
    () => client.edit('x', []),
    () => client.edit('x', () => 1),
    () => client.discard('x'),
    () => client.discardChain('x'),
    () => client.verdicts(1),
    () => client.acknowledgeVerdicts(1),
    () => client.history(1),
    () => client.undo('x'),
    () => client.redo('x'),
    () => client.prune(),
    () => client.reset('pending'),
    async () => client.onVerdicts(() => undefined),
  ];
  for (const call of calls) expect(await within(caught(call()), String(call)), String(call)).toBeInstanceOf(EndedError);
});
