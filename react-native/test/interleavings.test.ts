/**
 * The riskiest thing: transactions and actions whose bodies are asynchronous JavaScript, beside queries, writes, watches, suspension and
 * the end, in every order in which these steps can be taken.
 *
 * For each order: every promise is settled, each error is one that this order explains, no transaction is seen or left half, who was
 * told "done" finds it done after a restart, and who was told "failed" does not. Where each step is waited for, a model says exactly what
 * each caller is told and what a query sees. And what is broken on purpose is noticed.
 */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Actions, CallbackError, type ClientConfig, RejoinClient, RejoinError, SuspendedError } from '../src/index';
import { mergeCount, merges, type Step } from './support/interleave';
import { type Ending, type Frame, Model } from './support/model';
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
  const client = await open(EMPTY);
  await client.shutdown();
});
afterAll(() => watchdog.end());

/** The file that each order begins with a copy of: to make it takes most of the time of an order. */
const EMPTY = 'empty.db';
const config = (name: string): ClientConfig => ({ path: join(place, name), readers: 2, transactionIdleMs: 60_000, schemaJson: SCHEMA });
const column = (name: string, type: string, logical: string): object => ({ name, db_type: type, logical_type: logical });
const SCHEMA = JSON.stringify({
  schema_version: 1,
  schema_hash: '',
  tables: [
    {
      table_name: 'cell',
      push_policy: 'owner_only',
      updated_at_column: '',
      deleted_at_column: '',
      primary_key: ['id'],
      columns: [{ ...column('id', 'text', 'string'), is_primary_key: true }, column('owner', 'text', 'string'), column('part', 'integer', 'int64')],
    },
  ],
});

/** Whether a step is begun before the one before has had its effect. */
type Pace = 'at once' | 'one after the other';

const OWN = new Error('the body threw');
const ROWS = "SELECT owner, count(*) AS n FROM cell GROUP BY owner ORDER BY owner";
type Rows = { owner: string; n: number }[];

/** What the body of a transaction needs. */
type Writer = Pick<RejoinClient, 'execute'>;
/** What runs a body in a transaction: the sound one, or a broken one that must be noticed. */
type Transact = (client: RejoinClient, body: (tx: Writer) => Promise<void>) => Promise<void>;
const SOUND: Transact = (client, body) => client.transaction(body);
/** The same as an action: its code is the body that belongs to its number. */
const ACTION: Transact = async (client, body) => {
  const act = bodies.push(body) - 1;
  await client.perform('act', { act }).catch((error: unknown) => {
    throw error instanceof CallbackError && error.cause === OWN ? OWN : error;
  });
};
const bodies: ((tx: Writer) => Promise<void>)[] = [];

function open(name: string): Promise<RejoinClient> {
  const actions = new Actions().handler({ name: 'act', parameters: [{ name: 'act', type: 'integer' }] }, (context, { act }) => bodies[act]?.(context));
  return RejoinClient.open(config(name), { actions });
}

/** One transaction, driven from outside: its body waits at three gates. */
class Story {
  readonly #gates = [gate(), gate(), gate()] as const;
  readonly #arrivals = [gate(), gate(), gate()] as const;

  constructor(
    readonly owner: string,
    readonly ending: Ending,
    readonly transact: Transact,
    script: readonly string[],
  ) {
    for (const step of ['first', 'second'] as const) if (!script.includes(step)) this.open(step);
  }

  begin(client: RejoinClient): Promise<void> {
    const sql = "INSERT INTO cell (id, owner, part) VALUES (?1 || '.' || ?2, ?1, ?2)";
    return this.transact(client, async (tx) => {
      await this.#pass(0);
      await tx.execute(sql, [this.owner, 1]);
      await this.#pass(1);
      await tx.execute(sql, [this.owner, 2]);
      await this.#pass(2);
      if (this.ending === 'throws') throw OWN;
    });
  }

  open(step: 'first' | 'second' | 'end'): void {
    this.#gates[step === 'first' ? 0 : step === 'second' ? 1 : 2].open();
  }

  /** Settled when the body stands at this gate, or has passed it. */
  arrival(number: number): Promise<void> | undefined {
    return this.#arrivals[number]?.promise;
  }

  #pass(number: 0 | 1 | 2): Promise<void> {
    this.#arrivals[number].open();
    return this.#gates[number].promise;
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
  readonly #model: Model | undefined;

  constructor(
    readonly client: RejoinClient,
    readonly order: readonly Step[],
    readonly ending: Ending,
    readonly transact: Transact,
    pace: Pace,
  ) {
    if (pace === 'one after the other') this.#model = new Model(ending, order, transact === ACTION ? 'action' : 'transaction');
  }

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

  /** Takes one step; where there is a model, waits until all is so as it says. */
  async take(step: Step): Promise<void> {
    this.#begin(step);
    if (this.#model === undefined) return;
    this.#model.take(step);
    for (const what of this.#model.told.keys()) await within(this.#of(what)?.promise ?? Promise.reject(new Error(what)), what, 15_000);
    for (const [actor, story] of this.#stories) {
      const at = this.#model.standsAt(actor);
      const fate = this.#of(`transaction ${actor}`)?.promise;
      if (at !== undefined) await within(Promise.race([story.arrival(at), fate]), `transaction ${actor} at its gate ${at}`, 15_000);
    }
    // What waits for the writer is waiting there, not on its way.
    await turns(3);
  }

  #begin({ actor, name }: Step): void {
    const { client } = this;
    switch (name) {
      case 'begin': {
        const script = this.order.filter((step) => step.actor === actor).map((step) => step.name);
        const story = new Story(actor, this.ending, this.transact, script);
        this.#stories.set(actor, story);
        return this.#follow(`transaction ${actor}`, story.begin(client));
      }
      case 'first':
      case 'second':
      case 'end':
        return this.#stories.get(actor)?.open(name);
      case 'query':
        return this.#follow('query', client.query<Rows[number]>(ROWS).then((rows) => this.#look('query', rows, this.#model)));
      case 'write':
        return this.#follow('write', client.execute("INSERT INTO cell (id, owner, part) VALUES ('write', 'write', 1)"));
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

  /** How many transactions were committed, ended by the error of their bodies, and were refused by suspension or the end. */
  count(): Counts {
    const all = this.#fates.filter(({ what }) => what.startsWith('transaction')).map(({ ended }) => ended);
    const committed = all.filter((ended) => ended === 'done').length;
    const thrown = all.filter((ended) => ended !== 'done' && ended?.error === OWN).length;
    return { committed, thrown, refused: all.length - committed - thrown };
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
    return [...this.#halves, ...this.#fates.flatMap((fate) => this.#unexplained(fate, rows)), ...this.#unforeseen()];
  }

  /** What differs from the model. */
  #unforeseen(): string[] {
    return [...(this.#model?.told ?? [])].flatMap(([what, must]) => {
      const ended = this.#of(what)?.ended;
      const error = ended === 'done' ? undefined : ended?.error;
      const is = ended === 'done' ? 'done' : error === OWN ? 'own' : error instanceof RejoinError ? error.code : String(error);
      return is === must ? [] : [`${what}: told ${is}, and the model says ${must}`];
    });
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
    await within(this.client.execute("INSERT INTO cell (id, owner, part) VALUES ('z', 'z', 1)"), 'a write afterwards', 15_000);
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

  #look(where: string, rows: Rows, model?: Model): void {
    const owners = rows.map(({ owner }) => owner).join(' ');
    const must = [...(model?.committed ?? [])].sort().join(' ');
    if (model !== undefined && owners !== must) this.#halves.push(`${where} saw the rows of "${owners}", not of "${must}"`);
    for (const { owner, n } of rows) {
      if (owner.startsWith('t') && n !== 2) this.#halves.push(`${where} saw ${n} parts of ${owner}`);
    }
  }

  #follow(what: string, promise: Promise<unknown>): void {
    const fate: Fate = {
      what,
      promise: promise.then(
        () => void (fate.ended = 'done'),
        (error: unknown) => void (fate.ended = { error, afterwards: this.#over }),
      ),
    };
    this.#fates.push(fate);
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

/** How many transactions ended how. */
type Counts = { committed: number; thrown: number; refused: number };
/** What came of an order. */
type Outcome = Counts & { wrong: string[] };

/** One order, from an empty file to the verdict. */
async function one(order: Step[], ending: Ending, pace: Pace, transact = SOUND): Promise<Outcome> {
  const title = `${ending}, ${pace}: ${order.map(({ actor, name }) => `${actor}.${name}`).join(' ')}`;
  watchdog.begin(title);
  const name = `${(number += 1)}.db`;
  const path = join(place, name);
  copyFileSync(join(place, EMPTY), path);
  const client = await open(name);
  const run = new Run(client, order, ending, transact, pace);
  run.observe();
  for (const step of order) await run.take(step);
  const wrong = await run.judge();
  for (const suffix of ['', '-wal', '-shm', '-rejoin-lock']) rmSync(path + suffix, { force: true });
  return { wrong: wrong.map((words) => `${title}: ${words}`), ...run.count() };
}

const TRANSACTION = ['begin', 'first', 'second', 'end'];
/** What it is called, the steps of each actor, and what runs the bodies. */
type Scenario = [string, Record<string, string[]>, Frame?];

const SCENARIOS: Scenario[] = [
  ['a transaction beside a query, a write and a suspension', { t1: TRANSACTION, q: ['query', 'write'], l: ['suspend', 'resume'] }],
  ['a transaction beside a query, a write and the end', { t1: TRANSACTION, q: ['query', 'write'], l: ['shutdown'] }],
  ['a transaction beside a query, a write and the end of what is suspended', { t1: TRANSACTION, q: ['query', 'write'], l: ['suspend', 'shutdown'] }],
  ['two transactions and a suspension', { t1: ['begin', 'second', 'end'], t2: ['begin', 'second', 'end'], l: ['suspend', 'resume'] }],
  ['two transactions and the end', { t1: ['begin', 'second', 'end'], t2: ['begin', 'second', 'end'], l: ['shutdown'] }],
  ['an action beside a query, a write and a suspension', { t1: ['begin', 'second', 'end'], q: ['query', 'write'], l: ['suspend', 'resume'] }, 'action'],
  ['an action beside a query, a write and the end', { t1: TRANSACTION, q: ['query', 'write'], l: ['shutdown'] }, 'action'],
  ['two actions and a suspension', { t1: ['begin', 'end'], t2: ['begin', 'end'], l: ['suspend', 'resume'] }, 'action'],
];

describe.each(SCENARIOS)('%s', (_, scripts, frame) => {
  test.each<[Ending, Pace]>([
    ['commits', 'at once'],
    ['throws', 'at once'],
    ['commits', 'one after the other'],
    ['throws', 'one after the other'],
  ])('in every order, where the body %s, steps taken %s', { timeout: 600_000 }, async (ending, pace) => {
    let [orders, committed, thrown, refused] = [0, 0, 0, 0];
    const wrong: string[] = [];
    const all = merges(scripts);
    // Each has a client and a file of its own, and waits most of the time.
    const takeOrders = async (): Promise<void> => {
      for (const order of all) {
        orders += 1;
        const outcome = await one(order, ending, pace, frame === 'action' ? ACTION : SOUND);
        wrong.push(...outcome.wrong);
        committed += outcome.committed;
        thrown += outcome.thrown;
        refused += outcome.refused;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, takeOrders));
    console.log(`${orders} orders: ${committed} transactions committed, ${thrown} given up by their bodies, ${refused} refused`);
    expect(wrong).toEqual([]);
    const [some, none] = ending === 'commits' ? [committed, thrown] : [thrown, committed];
    expect(none).toBe(0);
    // Neither is every transaction refused, nor does suspension or the end never meet one. At once, that is left to the race.
    if (pace === 'one after the other') for (const number of [some, refused]) expect(number).toBeGreaterThan(0);
    expect(orders).toBe(mergeCount(scripts));
  });
});

describe('what is broken on purpose is noticed', () => {
  const some = [...merges({ t1: TRANSACTION, q: ['query', 'write'], l: ['suspend', 'resume'] })].filter((_, number) => number % 30 === 0);
  const refused = (): Promise<void> => Promise.reject(new SuspendedError('always'));
  test.each<[string, Transact, Ending, Pace]>([
    ['a transaction that is none', (client, body) => body(client), 'throws', 'at once'],
    ['a transaction that always says that it was suspended', refused, 'commits', 'one after the other'],
    ['a transaction that does not say that it failed', (client, body) => SOUND(client, body).catch(() => undefined), 'throws', 'at once'],
    ['a transaction that commits what its body gave up', (client, body) => SOUND(client, (tx) => body(tx).catch(() => undefined)), 'throws', 'one after the other'],
  ])('%s', async (_, transact, ending, pace) => {
    let noticed = 0;
    for (const order of some) if ((await one(order, ending, pace, transact)).wrong.length > 0) noticed += 1;
    expect(some.length).toBeGreaterThan(10);
    expect(noticed).toBeGreaterThan(0);
  });
});
