/**
 * Transactions and actions with asynchronous bodies, in every order with queries, writes, watches, suspend and shutdown.
 *
 * For each order: every promise is settled; each error is possible in this order; no transaction is seen or stored in part; the file
 * contains exactly the writes whose promises were fulfilled. With sequential steps, a model predicts the outcome of each call and the rows
 * of each query. The last tests check that these checks detect broken implementations.
 */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Actions, CallbackError, RejoinClient, type RejoinConfig, RejoinError, SuspendedError } from '../src/index';
import { merges, sample, sampleCount, type Step } from './support/interleave';
import { type Ending, type Frame, Model } from './support/model';
import { Watchdog } from './support/watchdog';
import { folder, gate, until, within } from './support/world';

/** Number of orders that run concurrently. */
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

/** The file that each order copies, because creating it takes most of the time of an order. */
const EMPTY = 'empty.db';
const config = (name: string): RejoinConfig => ({ path: join(place, name), readers: 2, transactionIdleMs: 60_000, schema: SCHEMA });
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

/** Whether a step waits for the effect of the previous one. */
type Pace = 'concurrent' | 'sequential';

const OWN = new Error('the body threw');
const ROWS = "SELECT owner, count(*) AS n FROM cell GROUP BY owner ORDER BY owner";
type Rows = { owner: string; n: number }[];

/** The part of a transaction that a body uses. */
type Writer = Pick<RejoinClient, 'execute'>;
/** Runs a body in a transaction: the real implementation, or a broken one that the checks must detect. */
type Transact = (client: RejoinClient, body: (tx: Writer) => Promise<void>) => Promise<void>;
const SOUND: Transact = (client, body) => client.transaction(body);
/** Runs a body as an action: its handler looks the body up by number. */
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

/** One transaction that is driven from outside: its body waits at three gates. */
class ScriptedTransaction {
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

  /** Settled when the body has reached this gate. */
  arrival(number: number): Promise<void> | undefined {
    return this.#arrivals[number]?.promise;
  }

  #pass(number: 0 | 1 | 2): Promise<void> {
    this.#arrivals[number].open();
    return this.#gates[number].promise;
  }
}

/** A call and its outcome. */
type Call = {
  readonly what: string;
  readonly promise: Promise<unknown>;
  outcome?: 'done' | { error: unknown; afterwards: boolean };
};

/** One run of one order. */
class Run {
  readonly #calls: Call[] = [];
  readonly #transactions = new Map<string, ScriptedTransaction>();
  readonly #problems: string[] = [];
  #latest: Rows = [];
  #shutdown = false;
  /** All steps are done; calls that callbacks start from now on may fail by the final shutdown. */
  #over = false;
  readonly #model: Model | undefined;

  constructor(
    readonly client: RejoinClient,
    readonly order: readonly Step[],
    readonly ending: Ending,
    readonly transact: Transact,
    pace: Pace,
  ) {
    if (pace === 'sequential') this.#model = new Model(ending, order, transact === ACTION ? 'action' : 'transaction');
  }

  /** Adds a watch and observers, each of which calls the client in its callback. */
  observe(): void {
    this.client.watch<Rows[number]>(ROWS, [], {
      onRows: (rows) => {
        this.#latest = rows;
        this.#checkRows('watch', rows);
        this.#follow('query in onRows', this.client.query<Rows[number]>(ROWS).then((found) => this.#checkRows('onRows', found)));
      },
      onError: (error) => this.#problems.push(`the watch failed: ${error.message}`),
    });
    this.client.onChange(['cell'], () => {
      const found = this.client.read((snapshot) => snapshot.query<Rows[number]>(ROWS));
      this.#follow('read in onChange', found.then((rows) => this.#checkRows('onChange', rows)));
    });
    this.client.onStatus(() => void this.client.status());
  }

  /** Takes one step; with a model, waits until the state is as predicted. */
  async take(step: Step): Promise<void> {
    this.#begin(step);
    if (this.#model === undefined) return;
    this.#model.take(step);
    for (const what of this.#model.outcomes.keys()) await within(this.#find(what)?.promise ?? Promise.reject(new Error(what)), what, 15_000);
    for (const [actor, transaction] of this.#transactions) {
      const at = this.#model.gateOf(actor);
      const end = this.#find(`transaction ${actor}`)?.promise;
      if (at !== undefined) await within(Promise.race([transaction.arrival(at), end]), `transaction ${actor} at its gate ${at}`, 15_000);
    }
    // Lets calls that wait for the writer reach its queue.
    await turns(3);
  }

  #begin({ actor, name }: Step): void {
    const { client } = this;
    switch (name) {
      case 'begin': {
        const script = this.order.filter((step) => step.actor === actor).map((step) => step.name);
        const transaction = new ScriptedTransaction(actor, this.ending, this.transact, script);
        this.#transactions.set(actor, transaction);
        return this.#follow(`transaction ${actor}`, transaction.begin(client));
      }
      case 'first':
      case 'second':
      case 'end':
        return this.#transactions.get(actor)?.open(name);
      case 'query':
        return this.#follow('query', client.query<Rows[number]>(ROWS).then((rows) => this.#checkRows('query', rows, this.#model)));
      case 'write':
        return this.#follow('write', client.execute("INSERT INTO cell (id, owner, part) VALUES ('write', 'write', 1)"));
      case 'suspend':
        return this.#follow('suspend', client.sync.suspend());
      case 'resume':
        return this.#follow('resume', client.sync.resume());
      case 'shutdown':
        this.#shutdown = true;
        return this.#follow('shutdown', client.shutdown());
      default:
        throw new Error(`no step ${name}`);
    }
  }

  /** Counts the transactions that committed, failed by the error of their bodies, or were refused by suspend or shutdown. */
  count(): Counts {
    const all = this.#calls.filter(({ what }) => what.startsWith('transaction')).map(({ outcome }) => outcome);
    const committed = all.filter((outcome) => outcome === 'done').length;
    const thrown = all.filter((outcome) => outcome !== 'done' && outcome?.error === OWN).length;
    return { committed, thrown, refused: all.length - committed - thrown };
  }

  /** Waits for all calls and returns the problems. */
  async check(): Promise<string[]> {
    await this.#settled();
    if (!this.#shutdown) await within(this.client.sync.resume(), 'resuming at the end', 15_000);
    const client = this.#shutdown ? await RejoinClient.open({ path: this.client.path }) : this.client;
    const rows = await client.query<Rows[number]>(ROWS);
    if (!this.#shutdown) await this.#checkStillWorks();
    this.#over = true;
    await within(client.shutdown(), 'the shutdown at the end', 15_000);
    await this.#settled();
    return [...this.#problems, ...this.#calls.flatMap((call) => this.#checkCall(call, rows)), ...this.#modelDifferences()];
  }

  /** The differences between the outcomes and the model. */
  #modelDifferences(): string[] {
    return [...(this.#model?.outcomes ?? [])].flatMap(([what, expected]) => {
      const outcome = this.#find(what)?.outcome;
      const error = outcome === 'done' ? undefined : outcome?.error;
      const found = outcome === 'done' ? 'done' : error === OWN ? 'own' : error instanceof RejoinError ? error.code : String(error);
      return found === expected ? [] : [`${what}: ${found}, expected ${expected} by the model`];
    });
  }

  /** Waits for all calls, also those that callbacks make meanwhile. */
  async #settled(): Promise<void> {
    for (let at = 0; at < this.#calls.length; at += 1) {
      const { promise, what } = this.#calls[at] as Call;
      await within(promise, what, 15_000);
    }
  }

  /** Checks that the writer is free and the watch gets the change. */
  async #checkStillWorks(): Promise<void> {
    await within(this.client.execute("INSERT INTO cell (id, owner, part) VALUES ('z', 'z', 1)"), 'a write afterwards', 15_000);
    const received = (): boolean => this.#latest.some(({ owner }) => owner === 'z');
    await until(received, 'the watch gets the latest result', 15_000);
  }

  #checkCall({ what, outcome }: Call, rows: Rows): string[] {
    if (what.startsWith('transaction')) return this.#checkTransaction(what.slice('transaction '.length), outcome, rows);
    if (what === 'write') {
      const stored = rows.some(({ owner }) => owner === 'write');
      if (stored !== (outcome === 'done')) return [`write: ${stored ? 'stored' : 'not stored'}, but ${described(outcome)}`];
    }
    return this.#allowed(outcome) ? [] : [`${what}: ${described(outcome)}`];
  }

  #checkTransaction(actor: string, outcome: Call['outcome'], rows: Rows): string[] {
    const parts = rows.find(({ owner }) => owner === actor)?.n ?? 0;
    const wrong: string[] = [];
    if (parts !== (outcome === 'done' ? 2 : 0)) wrong.push(`transaction ${actor}: ${parts} parts, but ${described(outcome)}`);
    if (outcome === 'done' && this.ending === 'throws') wrong.push(`transaction ${actor}: fulfilled although its body threw`);
    const own = outcome !== 'done' && outcome?.error === OWN && this.ending === 'throws';
    if (!own && !this.#allowed(outcome)) wrong.push(`transaction ${actor}: ${described(outcome)}`);
    return wrong;
  }

  /** Whether suspend or shutdown explains the outcome. */
  #allowed(outcome: Call['outcome']): boolean {
    if (outcome === 'done') return true;
    const code = outcome?.error instanceof RejoinError ? outcome.error.code : undefined;
    const ending = outcome?.afterwards === true || this.#calls.some(({ what }) => what === 'shutdown');
    const suspension = this.#calls.some(({ what }) => what === 'suspend');
    return (code === 'Closed' && ending) || (code === 'Suspended' && suspension);
  }

  #checkRows(where: string, rows: Rows, model?: Model): void {
    const owners = rows.map(({ owner }) => owner).join(' ');
    const expected = [...(model?.committed ?? [])].sort().join(' ');
    if (model !== undefined && owners !== expected) this.#problems.push(`${where} read the rows of "${owners}", not of "${expected}"`);
    for (const { owner, n } of rows) {
      if (owner.startsWith('t') && n !== 2) this.#problems.push(`${where} read ${n} parts of ${owner}`);
    }
  }

  #follow(what: string, promise: Promise<unknown>): void {
    const call: Call = {
      what,
      promise: promise.then(
        () => void (call.outcome = 'done'),
        (error: unknown) => void (call.outcome = { error, afterwards: this.#over }),
      ),
    };
    this.#calls.push(call);
  }

  #find(what: string): Call | undefined {
    return this.#calls.find((call) => call.what === what);
  }
}

function described(outcome: Call['outcome']): string {
  return outcome === 'done' ? 'fulfilled' : `rejected with ${String(outcome?.error)}`;
}

/** Gives the engine's threads and the event loop some turns. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
}

/** Numbers of transactions by outcome. */
type Counts = { committed: number; thrown: number; refused: number };
/** The result of an order. */
type OrderResult = Counts & { wrong: string[] };

/** Runs and checks one order on a copy of the empty file. */
async function one(order: Step[], ending: Ending, pace: Pace, transact = SOUND): Promise<OrderResult> {
  const title = `${ending}, ${pace}: ${order.map(({ actor, name }) => `${actor}.${name}`).join(' ')}`;
  watchdog.begin(title);
  const name = `${(number += 1)}.db`;
  const path = join(place, name);
  copyFileSync(join(place, EMPTY), path);
  const client = await open(name);
  const run = new Run(client, order, ending, transact, pace);
  run.observe();
  for (const step of order) await run.take(step);
  const wrong = await run.check();
  for (const suffix of ['', '-wal', '-shm', '-rejoin-lock']) rmSync(path + suffix, { force: true });
  return { wrong: wrong.map((problem) => `${title}: ${problem}`), ...run.count() };
}

const TRANSACTION = ['begin', 'first', 'second', 'end'];
/** The name, the steps of each actor, and what runs the bodies. */
type Scenario = [string, Record<string, string[]>, Frame?];

const SCENARIOS: Scenario[] = [
  ['transaction with query, write and suspend', { t1: TRANSACTION, q: ['query', 'write'], l: ['suspend', 'resume'] }],
  ['transaction with query, write and shutdown', { t1: TRANSACTION, q: ['query', 'write'], l: ['shutdown'] }],
  ['transaction with query, write, suspend and shutdown', { t1: TRANSACTION, q: ['query', 'write'], l: ['suspend', 'shutdown'] }],
  ['two transactions with suspend', { t1: ['begin', 'second', 'end'], t2: ['begin', 'second', 'end'], l: ['suspend', 'resume'] }],
  ['two transactions with shutdown', { t1: ['begin', 'second', 'end'], t2: ['begin', 'second', 'end'], l: ['shutdown'] }],
  ['action with query, write and suspend', { t1: ['begin', 'second', 'end'], q: ['query', 'write'], l: ['suspend', 'resume'] }, 'action'],
  ['action with query, write and shutdown', { t1: TRANSACTION, q: ['query', 'write'], l: ['shutdown'] }, 'action'],
  ['two actions with suspend', { t1: ['begin', 'end'], t2: ['begin', 'end'], l: ['suspend', 'resume'] }, 'action'],
];

describe.each(SCENARIOS)('%s', (_, scripts, frame) => {
  test.each<[Ending, Pace]>([
    ['commits', 'concurrent'],
    ['throws', 'concurrent'],
    ['commits', 'sequential'],
    ['throws', 'sequential'],
  ])('body that %s, in every order of %s steps', { timeout: 600_000 }, async (ending, pace) => {
    let [orders, committed, thrown, refused] = [0, 0, 0, 0];
    const wrong: string[] = [];
    // The sets of orders differ between endings and paces.
    const shift = (ending === 'commits' ? 0 : 1) + (pace === 'concurrent' ? 0 : 2);
    const all = sample(scripts, shift);
    // Each order has its own client and file, and waits most of the time.
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
    console.log(`${orders} orders: ${committed} transactions committed, ${thrown} failed by their bodies, ${refused} refused`);
    expect(wrong).toEqual([]);
    const [some, none] = ending === 'commits' ? [committed, thrown] : [thrown, committed];
    expect(none).toBe(0);
    // Some transactions end by their body and some by suspend or shutdown. With concurrent steps this depends on timing.
    if (pace === 'sequential') for (const number of [some, refused]) expect(number).toBeGreaterThan(0);
    expect(orders).toBe(sampleCount(scripts, shift));
  });
});

describe('broken implementation is detected', () => {
  const suspended = [...merges({ t1: TRANSACTION, q: ['query', 'write'], l: ['suspend', 'resume'] })].filter((_, number) => number % 30 === 0);
  // A suspend can be faster than the first write: then there is nothing to detect.
  const undisturbed = [...merges({ t1: TRANSACTION, q: ['query', 'write'] })];
  const refused = (): Promise<void> => Promise.reject(new SuspendedError('always'));
  test.each<[string, Transact, Ending, Pace, Step[][]]>([
    ['body runs without a transaction', (client, body) => body(client), 'throws', 'concurrent', undisturbed],
    ['transaction always fails as suspended', refused, 'commits', 'sequential', suspended],
    ['failed transaction reports success', (client, body) => SOUND(client, body).catch(() => undefined), 'throws', 'concurrent', undisturbed],
    ['transaction commits although its body throws', (client, body) => SOUND(client, (tx) => body(tx).catch(() => undefined)), 'throws', 'sequential', suspended],
  ])('%s', async (_, transact, ending, pace, some) => {
    let detected = 0;
    for (const order of some) if ((await one(order, ending, pace, transact)).wrong.length > 0) detected += 1;
    expect(some.length).toBeGreaterThan(10);
    expect(detected).toBeGreaterThan(0);
  });
});
