/**
 * What a reload of JavaScript leaves behind: the first runtime ends with work in every state, a later one opens the same files. Run by
 * `run.mjs`, one test per process, with AddressSanitizer; the argument names the test.
 */
import { gate, until, within } from '../test/support/world';
import { Actions, type RejoinClient, type RejoinConfig, RejoinClient as Rejoin, type Services } from './package';
import { createInterface, join, mkdtempSync, readFileSync, readdirSync, rmSync, spawn, tmpdir } from './node';

interface State {
  folder: string;
  url: string;
  schema: object;
  /** Titles of rows whose write was acknowledged. */
  written: string[];
}

const CREATE = 'INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)';
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
const state = (host.state === '' ? {} : JSON.parse(host.state)) as State;
const keep = (): void => host.keep(JSON.stringify(state));
/** Of the busy client. */
const RELOADS = 200;
let next = 0;

function check(is: boolean, what: string): void {
  if (!is) throw new Error(what);
}

/** The server lives as long as the process; its answers reach the first runtime only. */
async function begun(): Promise<State> {
  const server = spawn(host.env('REJOIN_STORY_SERVER') ?? '');
  const lines = createInterface(server as never) as never as AsyncIterable<string>;
  const answers = lines[Symbol.asyncIterator]();
  const url = (JSON.parse((await answers.next()).value as string) as { url: string }).url;
  server.stdin.write('{"do":"schema"}\n');
  const { schema } = JSON.parse((await answers.next()).value as string) as { schema: object };
  return { folder: mkdtempSync(join(tmpdir(), 'rejoin-')), url, schema, written: [] };
}

const opened = (name: string, services: Services = {}, config: Partial<RejoinConfig> = {}): Promise<RejoinClient> => {
  const { folder, url, schema } = state;
  return within(Rejoin.open({ path: join(folder, name), server: url, schema, userId: 'u1', syncIntervalMs: 3_600_000, pushDebounceMs: 0, ...config }, services), `opening ${name}`, 8000);
};

async function write(client: RejoinClient, title: string): Promise<void> {
  await client.execute(CREATE, [`${host.round}-${(next += 1)}-${title}`, 'u1', title]);
  state.written.push(title);
  keep();
}

const titles = async (client: RejoinClient): Promise<string[]> => (await client.query<{ title: string }>('SELECT title FROM task ORDER BY title')).map(({ title }) => title);

/** A file has the acknowledged rows, all pending, and none of an open transaction; the number of its rows. */
async function intact(client: RejoinClient): Promise<number> {
  const found = await within(titles(client), 'a query');
  const lost = state.written.filter((title) => title.startsWith(name(client)) && !found.includes(title));
  check(lost.length === 0, `${lost.join()} is lost`);
  check(!found.some((title) => title.endsWith('open')), 'an open transaction was committed');
  const pending = await within(client.queue.all(), 'the queue');
  check(pending.length === found.length, `${pending.length} of ${found.length} rows are pending`);
  return found.length;
}

const name = (client: RejoinClient): string => client.path.slice(client.path.lastIndexOf('/') + 1);

/** The file is intact, and watching, writing and syncing work. */
async function works(name: string): Promise<void> {
  const client = await opened(name);
  const before = await intact(client);
  const seen = gate();
  const watch = client.watch('SELECT title FROM task', [], { onRows: (rows) => void (rows.length === before + 1 && seen.open()) });
  await within(write(client, `${name}-after`), 'a write');
  await within(seen.promise, 'the watch');
  watch.cancel();
  await within(client.sync.run(), 'syncing');
  check((await client.queue.all()).length === 0, `${name}: not everything was pushed`);
  await within(client.transaction((tx) => tx.execute(CREATE, [`${name}-tx`, 'u1', `${name}-tx`])), 'a transaction');
  await within(client.shutdown(), 'shutting down');
}

/** The engine's threads, without the one that stays. */
function threads(): string[] {
  const names = readdirSync('/proc/self/task').map((thread) => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`).trim();
    } catch {
      return ''; // It has ended.
    }
  });
  return names.filter((name) => name.startsWith('rejoin-') && !name.startsWith('rejoin-elsewher'));
}

/** Work that never ends, in each of its states. */
async function outstanding(): Promise<void> {
  const [asked, sent, running, inside] = [gate(), gate(), gate(), gate()];
  const a = await opened('a', { tokens: { token: () => (asked.open(), never<string>()) } });
  await write(a, 'a-committed');
  await a.start();
  await within(asked.promise, 'the token request');
  a.onStatus(() => undefined);
  void a.transaction(async (tx) => {
    await tx.execute(CREATE, ['open', 'u1', 'a-open']);
    inside.open();
    await never();
  }).catch(() => undefined);
  await within(inside.promise, 'the transaction');
  const actions = new Actions();
  actions.handler({ name: 'hang' }, async (context) => {
    await context.execute(CREATE, ['hang', 'u1', 'b-open']);
    running.open();
    await never();
  });
  const b = await opened('b', { transport: { send: () => (sent.open(), never()), disconnect: () => undefined }, actions });
  await write(b, 'b-committed');
  await b.start();
  await within(sent.promise, 'the request');
  void b.perform('hang', {}).catch(() => undefined);
  await within(running.promise, 'the action');
  const c = await opened('c');
  c.watch('SELECT * FROM task', [], { onRows: () => undefined });
  await write(c, 'c-committed');
  void c.query('SELECT * FROM task');
}

/** An observer and a token provider whose calls are queued while this thread is busy: threads of the engine wait for them. */
async function blocked(): Promise<void> {
  const a = await opened('a', { tokens: { token: () => never<string>() } });
  await write(a, 'a-committed');
  const c = await opened('c');
  await write(c, 'c-committed');
  c.onChange([], () => check(false, 'a callback of the ended runtime'));
  void c.execute('CREATE TABLE IF NOT EXISTS own (id INTEGER PRIMARY KEY)').then(() => c.execute('INSERT INTO own DEFAULT VALUES'));
  void a.start();
  const end = host.now() + 5000;
  while (host.queued() < 2) check(host.now() < end, 'no call was queued');
}

const TESTS: Record<string, (invalidates: boolean) => Promise<void>> = {
  async 'work in every state'(invalidates) {
    if (host.round === 1) {
      await outstanding();
      host.reload(0, invalidates);
    } else {
      for (const name of ['a', 'b', 'c']) await works(name);
    }
  },
  async 'a thread of the engine waits for JavaScript'(invalidates) {
    if (host.round === 1) {
      await blocked();
      host.reload(0, invalidates);
    } else {
      for (const name of ['a', 'c']) await works(name);
    }
  },
  async 'invalidate inside a callback'() {
    if (host.round > 1) return works('c');
    const c = await opened('c');
    await write(c, 'c-committed');
    c.onChange([], () => {
      host.reload(0, true);
      host.invalidate();
    });
    void c.execute('CREATE TABLE own (id INTEGER PRIMARY KEY)').catch(() => undefined);
    await never();
  },
  async 'many reloads of a busy client'() {
    if (host.round === RELOADS) return works('c');
    let seed = host.round * 7919 + 17;
    const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    const [after, isTold] = [random(40), random(2) === 0];
    const c = await opened('c', { tokens: { token: () => never<string>() } });
    await intact(c);
    host.reload(after, isTold);
    void c.start();
    c.onStatus(() => void c.query('SELECT 1').catch(() => undefined));
    c.onChange([], () => void c.query('SELECT count(*) FROM task').catch(() => undefined));
    c.watch('SELECT * FROM task', [], { onRows: () => undefined });
    const open = async (): Promise<void> => {
      await c.transaction(async (tx) => {
        await tx.execute(CREATE, [`open-${host.round}`, 'u1', 'c-open']);
        if (random(2) === 0) await never();
        throw new Error('rolled back');
      }).catch(() => undefined);
    };
    for (let at = 0; at < 100; at += 1) {
      await write(c, `c-${host.round}-${at}`);
      if (at % 10 === random(10)) void open();
    }
    await never();
  },
};

async function main(): Promise<void> {
  const [name = '', how] = host.arguments;
  const invalidates = how !== 'without invalidate';
  try {
    // The first round starts the server only.
    if (host.round === 0) {
      host.keep(JSON.stringify(await begun()));
      host.reload(0, true);
      return;
    }
    await TESTS[name]?.(invalidates);
    if (host.round === 1) return;
    await until(() => threads().length === 0, 'all threads of the engine end').catch((error: Error) => {
      throw new Error(`${error.message}: ${threads().join()}`);
    });
    finish(`ok reload > ${host.arguments.join(', ')}`, 0);
  } catch (error) {
    finish(`FAILED reload > ${host.arguments.join(', ')}: round ${host.round}: ${String((error as Error).message)}`, 1);
  }
}

function finish(line: string, code: number): void {
  host.print(line);
  if (host.round > 0) rmSync(state.folder);
  host.exit(code);
}

void main();
