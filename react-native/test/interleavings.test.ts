/**
 * The riskiest thing: transactions whose bodies are asynchronous JavaScript, beside queries, writes, watches, suspension and the end,
 * in every order in which these steps can be taken.
 *
 * For each order: every promise is settled, each error is one that this order explains, no transaction is seen or left half, who was
 * told "done" finds it done after a restart, and who was told "failed" does not.
 */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClientConfig, RejoinClient, RejoinError } from '../src/index';
import { mergeCount, merges, type Step } from './support/interleave';
import { Watchdog } from './support/watchdog';
import { folder, gate, until, within } from './support/world';

/** So many orders are tried beside each other. */
const AT_ONCE = 4;

let watchdog: Watchdog;
let place: string;
let number = 0;
beforeAll(async () => {
  watchdog = new Watchdog(30_000);
  place = folder();
  const client = await RejoinClient.open(config(EMPTY));
  await client.createTable('cell', 'owner TEXT, part INTEGER, PRIMARY KEY (owner, part)');
  await client.shutdown();
});
afterAll(() => watchdog.end());

/** The file that each order begins with a copy of: to make it takes most of the time of an order. */
const EMPTY = 'empty.db';
const config = (name: string): ClientConfig => ({ path: join(place, name), readers: 2, transactionIdleMs: 60_000 });

/** How a body ends. */
type Ending = 'commits' | 'throws';
/** Whether a step is begun before the one before has had its effect. */
type Pace = 'at once' | 'one after the other';

const OWN = new Error('the body threw');
const ROWS = "SELECT owner, count(*) AS n FROM cell GROUP BY owner ORDER BY owner";
type Rows = { owner: string; n: number }[];

/** One transaction, driven from outside: its body waits at three gates. */
class Story {
  readonly #gates = [gate(), gate(), gate()] as const;

  constructor(
    readonly owner: string,
    readonly ending: Ending,
    script: readonly string[],
  ) {
    if (!script.includes('first')) this.open('first');
  }

  begin(client: RejoinClient): Promise<void> {
    const [first, second, last] = this.#gates;
    const sql = 'INSERT INTO cell (owner, part) VALUES (?, ?)';
    return client.transaction(async (tx) => {
      await first.promise;
      await tx.execute(sql, [this.owner, 1]);
      await second.promise;
      await tx.execute(sql, [this.owner, 2]);
      await last.promise;
      if (this.ending === 'throws') throw OWN;
    });
  }

  open(step: 'first' | 'second' | 'end'): void {
    this.#gates[step === 'first' ? 0 : step === 'second' ? 1 : 2].open();
  }
}

/** What became of a promise. */
type Fate = {
  readonly what: string;
  readonly promise: Promise<unknown>;
  ended?: 'done' | { error: unknown; afterwards: boolean };
};

/** One run of one order. */
class Run {
  readonly #fates: Fate[] = [];
  readonly #stories = new Map<string, Story>();
  readonly #halves: string[] = [];
  #latest: Rows = [];
  #shutdown = false;
  /** The order is through; what callbacks still begin may meet the end. */
  #over = false;

  constructor(
    readonly client: RejoinClient,
    readonly order: readonly Step[],
    readonly ending: Ending,
  ) {}

  /** Everything that watches: each calls back into the client from inside its callback. */
  observe(): void {
    this.client.watch<Rows[number]>(ROWS, [], {
      onRows: (rows) => {
        this.#latest = rows;
        this.#look('watch', rows);
        this.#follow('query in onRows', this.client.query<Rows[number]>(ROWS).then((seen) => this.#look('onRows', seen)));
      },
      onError: (error) => this.#halves.push(`the watch failed: ${error.message}`),
    });
    this.client.onChange(['cell'], () => {
      const seen = this.client.read((snapshot) => snapshot.query<Rows[number]>(ROWS));
      this.#follow('read in onChange', seen.then((rows) => this.#look('onChange', rows)));
    });
    this.client.onStatus(() => void this.client.status());
  }

  /** Takes one step, and gives what it began, if it is something to wait for. */
  take({ actor, name }: Step): Promise<unknown> | undefined {
    const { client } = this;
    switch (name) {
      case 'begin': {
        const story = new Story(actor, this.ending, this.order.filter((step) => step.actor === actor).map((step) => step.name));
        this.#stories.set(actor, story);
        this.#follow(`transaction ${actor}`, story.begin(client));
        return undefined;
      }
      case 'first':
      case 'second':
        return void this.#stories.get(actor)?.open(name);
      case 'end':
        this.#stories.get(actor)?.open(name);
        return this.#of(`transaction ${actor}`)?.promise;
      case 'query':
        return this.#follow('query', client.query<Rows[number]>(ROWS).then((rows) => this.#look('query', rows)));
      case 'write':
        return this.#follow('write', client.execute("INSERT INTO cell (owner, part) VALUES ('write', 1)"));
      case 'suspend':
        return this.#follow('suspend', client.suspend());
      case 'resume':
        return this.#follow('resume', client.resume());
      case 'shutdown':
        this.#shutdown = true;
        return this.#follow('shutdown', client.shutdown());
      default:
        throw new Error(`no step ${name}`);
    }
  }

  /** Everything has begun: waits for all of it, and says what is wrong. */
  async judge(): Promise<string[]> {
    await this.#settled();
    if (!this.#shutdown) await within(this.client.resume(), 'resuming at the end', 15_000);
    const client = this.#shutdown ? await RejoinClient.open({ path: this.client.path }) : this.client;
    const rows = await client.query<Rows[number]>(ROWS);
    if (!this.#shutdown) await this.#goesOn();
    this.#over = true;
    await within(client.shutdown(), 'the shutdown at the end', 15_000);
    await this.#settled();
    return [...this.#halves, ...this.#fates.flatMap((fate) => this.#unexplained(fate, rows))];
  }

  /** What is followed, and what callbacks begin meanwhile. */
  async #settled(): Promise<void> {
    for (let at = 0; at < this.#fates.length; at += 1) {
      const { promise, what } = this.#fates[at] as Fate;
      await within(promise, what, 15_000);
    }
  }

  /** The writer is free, and the watch hears of it. */
  async #goesOn(): Promise<void> {
    await within(this.client.execute("INSERT INTO cell (owner, part) VALUES ('z', 1)"), 'a write afterwards', 15_000);
    const there = (): boolean => this.#latest.some(({ owner }) => owner === 'z');
    await until(there, 'the watch gives the latest result', 15_000);
  }

  #unexplained({ what, ended }: Fate, rows: Rows): string[] {
    if (what.startsWith('transaction')) return this.#half(what.slice('transaction '.length), ended, rows);
    if (what === 'write') {
      const there = rows.some(({ owner }) => owner === 'write');
      if (there !== (ended === 'done')) return [`write: ${there ? 'there' : 'not there'}, but ${told(ended)}`];
    }
    return this.#allowed(ended) ? [] : [`${what}: ${told(ended)}`];
  }

  #half(actor: string, ended: Fate['ended'], rows: Rows): string[] {
    const parts = rows.find(({ owner }) => owner === actor)?.n ?? 0;
    const wrong: string[] = [];
    if (parts !== (ended === 'done' ? 2 : 0)) wrong.push(`transaction ${actor}: ${parts} parts, but ${told(ended)}`);
    if (ended === 'done' && this.ending === 'throws') wrong.push(`transaction ${actor}: its body threw, and nobody was told`);
    const own = ended !== 'done' && ended?.error === OWN && this.ending === 'throws';
    if (!own && !this.#allowed(ended)) wrong.push(`transaction ${actor}: ${told(ended)}`);
    return wrong;
  }

  /** Suspension and the end are what these orders can fail by. */
  #allowed(ended: Fate['ended']): boolean {
    if (ended === 'done') return true;
    const code = ended?.error instanceof RejoinError ? ended.error.code : undefined;
    const ending = ended?.afterwards === true || this.#fates.some(({ what }) => what === 'shutdown');
    const suspension = this.#fates.some(({ what }) => what === 'suspend');
    return (code === 'Ended' && ending) || (code === 'Suspended' && suspension);
  }

  #look(where: string, rows: Rows): void {
    for (const { owner, n } of rows) {
      if (owner.startsWith('t') && n !== 2) this.#halves.push(`${where} saw ${n} parts of ${owner}`);
    }
  }

  #follow(what: string, promise: Promise<unknown>): Promise<unknown> {
    const fate: Fate = {
      what,
      promise: promise.then(
        () => void (fate.ended = 'done'),
        (error: unknown) => void (fate.ended = { error, afterwards: this.#over }),
      ),
    };
    this.#fates.push(fate);
    return fate.promise;
  }

  #of(what: string): Fate | undefined {
    return this.#fates.find((fate) => fate.what === what);
  }
}

function told(ended: Fate['ended']): string {
  return ended === 'done' ? 'told "done"' : `told ${String(ended?.error)}`;
}

/** Lets the engine's threads and the event loop go on for a moment. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
}

/** One order, from an empty file to the verdict. */
async function one(order: Step[], ending: Ending, pace: Pace): Promise<string[]> {
  const title = `${ending}, ${pace}: ${order.map(({ actor, name }) => `${actor}.${name}`).join(' ')}`;
  watchdog.begin(title);
  const name = `${(number += 1)}.db`;
  const path = join(place, name);
  copyFileSync(join(place, EMPTY), path);
  const client = await RejoinClient.open(config(name));
  const run = new Run(client, order, ending);
  run.observe();
  for (const step of order) {
    const begun = run.take(step);
    if (pace === 'one after the other') await Promise.race([begun ?? turns(3), turns(20)]);
  }
  const wrong = await run.judge();
  for (const suffix of ['', '-wal', '-shm', '-lock']) rmSync(path + suffix, { force: true });
  return wrong.map((words) => `${title}: ${words}`);
}

const TRANSACTION = ['begin', 'first', 'second', 'end'];

describe.each([
  ['a transaction beside a query, a write and a suspension', { t1: TRANSACTION, q: ['query', 'write'], l: ['suspend', 'resume'] }],
  ['a transaction beside a query, a write and the end', { t1: TRANSACTION, q: ['query', 'write'], l: ['shutdown'] }],
  ['a transaction beside a query and the end of what is suspended', { t1: TRANSACTION, q: ['query'], l: ['suspend', 'shutdown'] }],
  ['two transactions and a suspension', { t1: ['begin', 'second', 'end'], t2: ['begin', 'second', 'end'], l: ['suspend', 'resume'] }],
  ['two transactions and the end', { t1: ['begin', 'second', 'end'], t2: ['begin', 'second', 'end'], l: ['shutdown'] }],
])('%s', (_, scripts) => {
  test.each<[Ending, Pace]>([
    ['commits', 'at once'],
    ['throws', 'at once'],
    ['commits', 'one after the other'],
    ['throws', 'one after the other'],
  ])('in every order, where the body %s, steps taken %s', { timeout: 600_000 }, async (ending, pace) => {
    let orders = 0;
    const wrong: string[] = [];
    const all = merges(scripts);
    // Each has a client and a file of its own, and waits most of the time.
    const takeOrders = async (): Promise<void> => {
      for (const order of all) {
        orders += 1;
        wrong.push(...(await one(order, ending, pace)));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, takeOrders));
    console.log(`${orders} orders`);
    expect(wrong).toEqual([]);
    expect(orders).toBe(mergeCount(scripts));
  });
});
