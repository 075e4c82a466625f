/** Decisions about mutations, and verdicts: devices with the real server. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ClosedError, fetchTransport, type HttpTransport, InvalidInputError, RejoinClient, type Verdicts } from '../src/index';
import { CREATE, device, reasons, newUser, sync, titles, wrote } from './support/devices';
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

/** A device with a create that the server rejected and a dependent edit; returns their ids. */
async function rejected(): Promise<{ user: string; phone: RejoinClient; create: string; edit: string }> {
  const user = newUser();
  const phone = await device(server, user);
  const create = await wrote(phone, CREATE, [`${user}-1`, user, 'refused']);
  const edit = await wrote(phone, "UPDATE task SET note = 'more'");
  await sync(phone);
  expect(await reasons(phone)).toEqual(['rejected', 'depends']);
  return { user, phone, create, edit };
}

describe('parked mutation', () => {
  test('failed edit changes nothing', async () => {
    const { phone, create, edit } = await rejected();
    const own = new Error('own');
    const before = await phone.queue.all();
    expect([await phone.queue.parked(), await phone.queue.pending()]).toEqual([before, []]);
    expect(await caught(phone.queue.edit(create, () => Promise.reject(own)))).toBe(own);
    const controller = new AbortController();
    const hanging = caught(
      phone.queue.edit(create, async (tx) => (await tx.execute("UPDATE task SET title = 'x'"), controller.abort(own), gate().promise), {
        signal: controller.signal,
      }),
    );
    expect(await within(hanging, 'the abort')).toBe(own);
    expect(await caught(phone.queue.edit(create, [{ sql: 'SELEC' }]))).toBeInstanceOf(InvalidInputError);
    expect(await caught(phone.queue.edit('no such thing', () => 1))).toBeInstanceOf(InvalidInputError);
    expect(await phone.queue.all()).toEqual(before);
    expect(await phone.queue.discardChain(create)).toEqual([create, edit]);
    expect(await caught(phone.queue.discardChain(create))).toBeInstanceOf(InvalidInputError);
    expect(await caught(phone.queue.edit(create, () => 1))).toBeInstanceOf(InvalidInputError);
    expect(await phone.queue.all()).toEqual([]);
  });
});

describe('verdicts', () => {
  test('loop gets unacknowledged verdicts, then new ones, each once', async () => {
    const { user, phone, create, edit } = await rejected();
    const reported: string[] = [];
    const loop = (async () => {
      for await (const { entries } of phone.queue.watchVerdicts()) {
        reported.push(...entries.map(({ id, kind }) => `${id} ${kind}`));
        await phone.queue.acknowledgeVerdicts(entries.at(-1)?.number ?? 0);
        if (reported.length === 3) break;
      }
    })();
    await until(() => reported.length === 2, 'the stored verdicts');
    const id = await wrote(phone, CREATE, [`${user}-2`, user, 'good']);
    await sync(phone);
    await within(loop, 'the new verdict');
    expect(reported).toEqual([`${create} parked`, `${edit} parked`, `${id} accepted`]);
    expect((await phone.queue.verdicts(10)).entries).toEqual([]);
  });

  test('slow loop gets several at once and each loop gets all', async () => {
    const user = newUser();
    const phone = await device(server, user);
    const slow = phone.queue.watchVerdicts()[Symbol.asyncIterator]();
    const received: Verdicts[] = [];
    phone.queue.onVerdicts((verdicts) => received.push(verdicts));
    const first = slow.next();
    const ids: string[] = [];
    for (let at = 0; at < 5; at += 1) {
      ids.push(await wrote(phone, CREATE, [`${user}-${at}`, user, 'x']));
      await sync(phone);
    }
    await until(() => received.flatMap(({ entries }) => entries).length === 5, 'the observer gets all');
    const gathered = [...((await within(first, 'the first')).value?.entries ?? [])];
    while (gathered.length < 5) gathered.push(...((await within(slow.next(), 'the rest')).value?.entries ?? []));
    expect(gathered.map(({ id }) => id)).toEqual(ids);
    expect(gathered).toEqual(received.flatMap(({ entries }) => entries));
    await slow.return?.();
    expect(await slow.next()).toEqual({ done: true, value: undefined });
  });

  test('loop ends by signal, by shutdown and if it cannot start', async () => {
    const user = newUser();
    const phone = await device(server, user);
    const controller = new AbortController();
    const aborted = phone.queue.watchVerdicts({ signal: controller.signal })[Symbol.asyncIterator]();
    const [one, two] = [aborted.next(), aborted.next()];
    controller.abort();
    for (const next of [one, two, aborted.next()]) expect(await within(next, 'the abort')).toEqual({ done: true, value: undefined });
    expect(await phone.queue.watchVerdicts({ signal: AbortSignal.abort() })[Symbol.asyncIterator]().next()).toMatchObject({ done: true });
    const waits = phone.queue.watchVerdicts()[Symbol.asyncIterator]().next();
    await phone.shutdown();
    expect(await within(waits, 'the shutdown')).toEqual({ done: true, value: undefined });
    expect(await caught(phone.queue.watchVerdicts()[Symbol.asyncIterator]().next())).toBeInstanceOf(ClosedError);
  });

  test('observer error is printed and the observer called again', async () => {
    const shown = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const { user, phone } = await rejected();
    let calls = 0;
    const subscription = phone.queue.onVerdicts(() => {
      calls += 1;
      throw new Error('own');
    });
    await until(() => calls === 1, 'the stored verdicts');
    await wrote(phone, CREATE, [`${user}-2`, user, 'good']);
    await sync(phone);
    await until(() => calls === 2, 'the new verdict');
    subscription.cancel();
    expect(shown.mock.calls.map(([message]) => String(message))).toEqual(Array.from({ length: 2 }, () => 'rejoin: an observer of verdicts threw'));
    shown.mockRestore();
  });

  test('mutation discarded while in flight is withdrawn', async () => {
    const user = newUser();
    const real = fetchTransport();
    let losing = true;
    const transport: HttpTransport = {
      async send(request, signal) {
        const answer = await real.send(request, signal);
        if (losing && request.url.endsWith('/push')) throw new Error('the response is lost');
        return answer;
      },
    };
    const phone = await device(server, user, {}, { transport });
    await sync(phone);
    const id = await wrote(phone, CREATE, [`${user}-1`, user, 'sent']);
    expect(await caught(phone.sync.run())).toMatchObject({ code: 'Offline' });
    await phone.stop();
    losing = false;
    expect(await onServer(user)).toEqual(['sent']);
    expect(await phone.queue.all()).toMatchObject([{ id, state: 'uncertain' }]);
    await phone.queue.discard(id);
    expect([await titles(phone), await phone.queue.all()]).toEqual([[], []]);
    await sync(phone);
    const [withdrawn, back] = (await phone.queue.verdicts(10)).entries;
    expect(withdrawn).toMatchObject({ id, kind: 'withdrawn', becauseOf: back?.id });
    expect(back).toMatchObject({ kind: 'accepted' });
    expect(await onServer(user)).toEqual([]);
  });
});

test('decisions fail after shutdown', async () => {
  const client = await opened();
  await client.shutdown();
  const calls: (() => Promise<unknown>)[] = [
    () => client.perform('x'),
    () => client.queue.retry('x'),
    () => client.queue.retryChain('x'),
    () => client.queue.edit('x', []),
    () => client.queue.edit('x', () => 1),
    () => client.queue.discard('x'),
    () => client.queue.discardChain('x'),
    () => client.queue.verdicts(1),
    () => client.queue.acknowledgeVerdicts(1),
    () => client.queue.history(1),
    () => client.queue.undo('x'),
    () => client.queue.redo('x'),
    () => client.queue.prune(),
    () => client.storage.reset('pending'),
    async () => client.queue.onVerdicts(() => undefined),
  ];
  for (const call of calls) expect(await within(caught(call()), String(call)), String(call)).toBeInstanceOf(ClosedError);
});
