/**
 * A callback that waits, and everything that can happen meanwhile, in every order: a token provider, a transport or observers are
 * called, stand at a gate, and return, throw, call back, or never end, while a query, a write, a suspension and the end go on.
 *
 * Nobody waits for a callback: each step is done while it stands at its gate. Who was told that a write was done finds it in the file,
 * who was told that it failed does not.
 */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type HttpTransport, OfflineError, RejoinClient, RejoinError } from '../src/index';
import { mergeCount, merges } from './support/interleave';
import { Watchdog } from './support/watchdog';
import { folder, gate, within } from './support/world';

/** So many orders are tried beside each other. */
const AT_ONCE = 4;
/** Called and answered in this order, the others wherever they can. */
const SCRIPTS = { handler: ['called', 'answers'], q: ['query'], w: ['write'], s: ['suspend'], e: ['shutdown'] };
const LOCAL = ['Suspended', 'Ended'];
/** What an attempt to sync may find, with nobody to talk to. */
const SYNCING = [...LOCAL, 'Offline', 'Unauthorized', 'Callback', 'Server', 'Protocol'];

type Kind = 'a token provider' | 'a transport' | 'observers';
type Answer = 'returns' | 'throws' | 'calls back' | 'never ends';
type Pace = 'at once' | 'one after the other';

let watchdog: Watchdog;
let place: string;
let number = 0;
beforeAll(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  watchdog = new Watchdog(30_000);
  place = folder();
  const client = await RejoinClient.open({ path: join(place, 'empty.db') });
  await client.createTable('note', 'id TEXT PRIMARY KEY');
  await client.shutdown();
});
afterAll(async () => {
  vi.restoreAllMocks();
  await watchdog.end();
});

const dead: HttpTransport = { send: () => Promise.reject(new OfflineError('nobody there')) };

/** What became of a call: `done`, or the code of its error. */
const fate = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof RejoinError ? error.code : String(error)),
  );

/** One order, on a file of its own. */
class Run {
  readonly wrong: string[] = [];
  /** How often something came to the gate. */
  calls = 0;
  readonly #gate = gate();
  readonly #arrived = gate();
  readonly #fates: { what: string; told: Promise<string>; may: readonly string[] }[] = [];
  #client!: RejoinClient;
  #dead: string | undefined;
  #written = false;

  constructor(
    readonly path: string,
    readonly kind: Kind,
    readonly answer: Answer,
    readonly pace: Pace,
  ) {}

  async open(): Promise<void> {
    const config = { path: this.path, readers: 2, serverUrl: 'http://127.0.0.1:9', userId: 'u1' };
    const tokens = { token: () => this.#handler().then(() => 'token') };
    const transport: HttpTransport = {
      send: () => this.#handler().then(() => ({ status: 503, headers: [], body: new Uint8Array() })),
    };
    const services = { 'a token provider': { tokens, transport: dead }, 'a transport': { transport }, 'observers': {} };
    this.#client = await RejoinClient.open(config, services[this.kind]);
  }

  async take(name: string): Promise<void> {
    const steps = this.pace === 'one after the other';
    const client = this.#client;
    const alive = this.#dead === undefined;
    switch (name) {
      case 'called': {
        const called = this.#call();
        if (steps) await within(Promise.race([this.#arrived.promise, called]), 'the callback is called', 15_000);
        return;
      }
      case 'answers':
        this.#gate.open();
        break;
      case 'query': {
        const told = this.#follow(name, client.query('SELECT id FROM note').then((rows) => this.#sees(rows.length)));
        if (steps) this.#must(name, await told, this.#dead);
        break;
      }
      case 'write': {
        const told = this.#follow(name, client.execute("INSERT INTO note VALUES ('w')"));
        if (steps) this.#must(name, await told, this.#dead);
        this.#written = alive;
        break;
      }
      case 'suspend': {
        const told = this.#follow(name, client.suspend());
        if (steps) this.#must(name, await told, this.#dead);
        this.#dead ??= 'Suspended';
        break;
      }
      default: {
        const told = this.#follow(name, client.shutdown());
        if (steps) this.#must(name, await told, undefined);
        this.#dead = 'Ended';
      }
    }
    // The callback is called between two turns of the event loop, if it can be.
    for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate);
  }

  /** Everything has begun: waits for all of it, and looks into the file. Tells whether the write is there. */
  async judge(): Promise<boolean> {
    for (const { what, told, may } of this.#fates) {
      const is = await within(told, what, 15_000);
      if (is !== 'done' && !may.includes(is)) this.wrong.push(`${what}: told ${is}`);
    }
    const again = await RejoinClient.open({ path: this.path });
    const there = (await again.query('SELECT id FROM note')).length === 1;
    await again.shutdown();
    const told = await this.#fates.find(({ what }) => what === 'write')?.told;
    if (there !== (told === 'done')) this.wrong.push(`the write was told ${told}, and is ${there ? '' : 'not '}there`);
    return there;
  }

  /** Makes the engine call the handler; settled when that can come no more. */
  #call(): Promise<unknown> {
    const client = this.#client;
    if (this.kind !== 'observers') return this.#follow('syncing', client.syncAndWait(), SYNCING);
    try {
      client.watch('SELECT id FROM note', [], { onRows: () => this.#handler(), onError: () => this.#handler() });
      client.onChange(['note'], () => this.#handler());
      client.onStatus(() => this.#handler());
      return this.#dead === undefined ? this.#arrived.promise : Promise.resolve();
    } catch (error) {
      return this.#follow('observing', Promise.reject(error as Error));
    }
  }

  async #handler(): Promise<void> {
    this.calls += 1;
    this.#arrived.open();
    await this.#gate.promise;
    if (this.answer === 'throws') throw new Error('own');
    if (this.answer === 'never ends') await gate().promise;
    if (this.answer !== 'calls back') return;
    // It may be suspended or over by then; what it may not is stand still.
    const read = this.#follow('query in the callback', this.#client.query('SELECT id FROM note'));
    await Promise.all([read, this.#follow('transaction in the callback', this.#client.transaction((tx) => tx.query('SELECT 1')))]);
  }

  #follow(what: string, promise: Promise<unknown>, may: readonly string[] = LOCAL): Promise<string> {
    const told = fate(promise);
    this.#fates.push({ what, told, may });
    return within(told, what, 15_000);
  }

  #must(what: string, told: string, dead: string | undefined): void {
    if (told !== (dead ?? 'done')) this.wrong.push(`${what}: told ${told}, not ${dead ?? 'done'}`);
  }

  #sees(rows: number): void {
    if (this.pace === 'one after the other' && rows !== (this.#written ? 1 : 0)) this.wrong.push(`a query saw ${rows} rows`);
  }
}

const KINDS: Kind[] = ['a token provider', 'a transport', 'observers'];
describe.each(KINDS)('%s at a gate', (kind) => {
  test.each<[Answer, Pace]>([
    ['returns', 'one after the other'],
    ['throws', 'one after the other'],
    ['calls back', 'one after the other'],
    ['never ends', 'one after the other'],
    ['calls back', 'at once'],
    ['never ends', 'at once'],
  ])('that %s: in every order nobody waits for it, steps taken %s', { timeout: 600_000 }, async (answer, pace) => {
    let [orders, called, written, lost] = [0, 0, 0, 0];
    const wrong: string[] = [];
    const all = merges(SCRIPTS);
    const takeOrders = async (): Promise<void> => {
      for (const order of all) {
        orders += 1;
        const title = order.map(({ name }) => name).join(' ');
        watchdog.begin(`${kind} that ${answer}, ${pace}: ${title}`);
        const path = join(place, `${(number += 1)}.db`);
        copyFileSync(join(place, 'empty.db'), path);
        const run = new Run(path, kind, answer, pace);
        await run.open();
        for (const { name } of order) await run.take(name);
        if (await run.judge()) written += 1;
        else lost += 1;
        if (run.calls > 0) called += 1;
        wrong.push(...run.wrong.map((words) => `${title}: ${words}`));
        for (const suffix of ['', '-wal', '-shm', '-rejoin-lock']) rmSync(path + suffix, { force: true });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, takeOrders));
    console.log(`${orders} orders: called in ${called}, the write done in ${written}`);
    expect(wrong).toEqual([]);
    expect(orders).toBe(mergeCount(SCRIPTS));
    for (const some of [called, written, lost]) expect(some).toBeGreaterThan(0);
    // In a third of the orders the write comes before the suspension and the end.
    if (pace === 'one after the other') expect(written).toBe(orders / 3);
  });
});
