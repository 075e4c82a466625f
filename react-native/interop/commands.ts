/**
 * Runs commands, given as JSON, with the package as an app uses it (`tests/scenarios/README.md` lists them).
 *
 * Every command has exactly one answer; a failed command answers with the kind of the error. Used by the device of `tests/interop` and by
 * the scenario runner.
 */
import {
  type ActionContext,
  ActionError,
  Actions,
  real,
  RejoinClient,
  type RejoinConfig,
  RejoinError,
  type RowBuffer,
  type Snapshot,
  type SqlParam,
  type SqlValue,
  type StreamSubscription,
  type Transaction,
} from '../node/index';

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

/** Extensions of the scenario runner. */
export interface Hooks {
  /** Replaces the variables of a step, but not those of nested steps. */
  resolve(step: Json, locals: Json): Json;
  /** Compares an answer with what the step expects. */
  check(step: Json, answer: Json, locals: Json): void;
}

/** The error that a step of the scenario throws itself. */
class Own extends Error {}

/** The object that runs the statements of a body. */
type Target = Transaction | Snapshot | ActionContext;

/** The results of a token provider, and the `refresh` arguments of its calls. */
interface Tokens {
  token: string | null | undefined;
  fresh: string | null | undefined;
  readonly asked: boolean[];
}

/** Default timeout in milliseconds. */
const LONGEST = 30_000;

/** Clients by name. */
export class Device {
  readonly #hooks: Hooks;
  readonly #clients = new Map<string, RejoinClient>();
  readonly #tokens = new Map<string, Tokens>();
  readonly #subscriptions = new Map<string, StreamSubscription>();

  constructor(hooks: Hooks = { resolve: (step: Json): Json => step, check: () => undefined }) {
    this.#hooks = hooks;
  }

  /** Runs one command. */
  answer(step: Json): Promise<Json> {
    return this.#run(step).catch(failure);
  }

  /** Shuts every client down. */
  async end(): Promise<void> {
    await Promise.allSettled([...this.#clients.values()].map((client) => client.shutdown()));
  }

  async #run(step: Json, target?: Target): Promise<Json> {
    const statement = STATEMENTS[step.do];
    if (statement !== undefined) return statement(step.on === undefined && target !== undefined ? target : this.#client(step), step);
    const command = COMMANDS[step.do];
    if (command !== undefined) return (await command(this.#client(step), step)) ?? { ok: true };
    return (await this.#control(step, target)) ?? { ok: true };
  }

  /** Commands that need more than one call of a client. */
  async #control(step: Json, target?: Target): Promise<Json> {
    switch (step.do) {
      case 'open':
        return this.#open(step);
      case 'close':
      case 'quit':
        return this.#clients.get(step.on ?? 'main')?.shutdown();
      case 'transaction':
        return this.#client(step).transaction((tx) => this.#steps(step.steps, tx));
      case 'hold':
        return this.#hold(step);
      case 'read':
        return this.#client(step).read((snapshot) => this.#steps(step.steps, snapshot));
      case 'edit': {
        const change = step.steps === undefined ? statements(step) : (tx: Transaction) => this.#steps(step.steps, tx);
        return { id: (await this.#client(step).queue.edit(step.id, change)) ?? null };
      }
      case 'savepoint':
        return (target as Transaction).savepoint(() => this.#steps(step.steps, target));
      case 'row_id':
        return { id: await (target as ActionContext).rowId(step.table, step.row) };
      case 'refuse':
        return (target as ActionContext).refuse(step.detail);
      case 'throw':
        throw new Own(step.detail);
      case 'tokens':
        return void Object.assign(this.#tokens.get(step.on ?? 'main') ?? {}, { token: step.token, fresh: step.fresh });
      case 'asked':
        return { refreshes: this.#tokens.get(step.on ?? 'main')?.asked.filter((refresh) => refresh).length };
      case 'subscribe': {
        const { stream, parameters, ttl, priority } = step;
        return void this.#subscriptions.set(step.id, await this.#client(step).sync.subscribe(stream, parameters, { ttlMs: ttl, priority }));
      }
      case 'stream_sync':
        return this.#subscription(step).firstSync(LONGEST);
      case 'unsubscribe':
        return this.#subscription(step).unsubscribe();
      case 'release':
        return this.#subscription(step).release();
      default:
        throw new Error(`no command is named ${step.do}`);
    }
  }

  #client(step: Json): RejoinClient {
    const client = this.#clients.get(step.on ?? 'main');
    if (client === undefined) throw new Error('no file is open');
    return client;
  }

  #subscription(step: Json): StreamSubscription {
    const held = this.#subscriptions.get(step.id);
    if (held === undefined) throw new Error(`no subscription has the id ${step.id}`);
    return held;
  }

  async #open(step: Json): Promise<void> {
    const { path, url, user, schema, token, fresh, actions, config = {} } = step;
    const given = { path, server: url, userId: user, schema };
    const pace = url === undefined ? {} : { syncIntervalMs: 3_600_000, pushDebounceMs: 0 };
    const tokens: Tokens = { token, fresh, asked: [] };
    const provider = {
      token(refresh: boolean): string | null | undefined {
        tokens.asked.push(refresh);
        if (refresh && tokens.fresh !== undefined) tokens.token = tokens.fresh;
        return tokens.token;
      },
    };
    const services = { tokens: token === undefined ? undefined : provider, actions: actions === undefined ? undefined : this.#actions(actions) };
    const opened = await RejoinClient.open({ ...given, ...pace, ...configuration(config), integers: 'bigint' } as RejoinConfig, services);
    this.#clients.set(step.on ?? 'main', opened);
    this.#tokens.set(step.on ?? 'main', tokens);
  }

  /** Answers when the steps have run; the transaction stays open. */
  #hold(step: Json): Promise<Json> {
    return new Promise((held, failed) => {
      const body = async (tx: Transaction): Promise<void> => {
        await this.#steps(step.steps, tx);
        held({ held: true });
        await new Promise<never>(() => undefined);
      };
      this.#client(step).transaction(body).catch(failed);
    });
  }

  #actions(entries: Json[]): Actions {
    const actions = new Actions();
    for (const entry of entries) {
      if (entry.identity !== undefined) actions.identity(entry.identity, entry.columns);
      else if (entry.only_by_actions !== undefined) actions.onlyByActions(entry.only_by_actions);
      else if (entry.runs === undefined) actions.declare(JSON.stringify(entry));
      else {
        let run = 0;
        const { runs, upgrades = [], ...definition } = entry;
        definition.upgrades = Object.fromEntries(upgrades.map(({ version, ...upgrade }: Json) => [version, upgrade]));
        actions.handler(definition, (context, given) => this.#steps(runs[Math.min(run++, runs.length - 1)], context, given));
      }
    }
    return actions;
  }

  /** Runs the steps of a body and returns the value of the step `return`. Throws a failure that no step expects. */
  async #steps(steps: Json[], target?: Target, given: Json = {}): Promise<Json> {
    let value: Json;
    for (const raw of steps) {
      const step = this.#hooks.resolve(raw, given);
      if (step.do === 'return') {
        value = step.value;
        continue;
      }
      const answer = await this.#run(step, target).catch((error: unknown) => {
        if (raw.expect === undefined) throw error;
        return failure(error);
      });
      this.#hooks.check(raw, answer, given);
    }
    return value;
  }
}

type Command = (client: RejoinClient, step: Json) => Promise<Json>;

const timeout = (step: Json): number => step.timeout ?? LONGEST;
/** The argument `limit` of a command; older scenarios call it `most`. */
const limit = (step: Json): number => step.limit ?? 100;
const list = async (name: string, values: Promise<Json>): Promise<Json> => ({ [name]: plain(await values) });

/** Commands that are one call of the client. */
const COMMANDS: Record<string, Command> = {
  script: (client, { sql }) => client.executeScript(sql),
  rows_of: async (client, step) => ({ results: (await client.queryMany(statements(step))).map(rows) }),
  create_table: (client, { name, definition }) => client.schema.createTable(name, definition),
  alter_table: (client, { name, definition }) => client.schema.alterTable(name, definition),
  create_index: (client, { table, columns }) => list('name', client.schema.createIndex(table, columns)),
  create_search_index: (client, { table, columns, tokenizer }) => list('name', client.schema.createSearchIndex(table, columns, tokenizer)),
  drop_search_index: (client, { table }) => client.schema.dropSearchIndex(table),
  start: (client) => client.start(),
  stop: (client) => client.stop(),
  sync: async (client, step) => plain(await client.sync.run(timeout(step))),
  doctor: async (client, step) => plain(await client.sync.doctor(timeout(step))),
  resync: async (client, step) => plain(await client.sync.resync(timeout(step))),
  settle: async (client, step) => {
    const report = await client.sync.run(timeout(step));
    await client.stop();
    return plain(report);
  },
  wrote: async (client, step) => {
    await client.execute(step.sql, params(step));
    return { id: (await client.queue.all()).at(-1)?.id };
  },
  sync_now: (client) => client.sync.request(),
  first_sync: (client, step) => client.sync.firstSync(timeout(step)),
  subscriptions: async (client) => ({ subscriptions: plain(client.sync.subscriptions()) }),
  credentials_changed: (client) => client.sync.credentialsChanged(),
  network: async (client, { online, metered = false }) => client.sync.setNetwork({ online, metered }),
  foreground: async (client) => client.sync.foreground(),
  status: async (client) => plain(client.status()),
  reach: async (client, { state }) => {
    const deadline = Date.now() + LONGEST;
    for (;;) {
      const status = client.status(); // Read once: the next state may follow at once.
      if (snake(status.state.kind) === state) return plain(status);
      if (Date.now() > deadline) throw new Error(`never ${state}, but ${status.state.kind}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  },
  pending: (client) => list('pending', client.queue.all()),
  counts: async (client) => plain(await client.queue.counts()),
  row_state: (client, { table, key }) => list('state', client.queue.rowState(table, param(key))),
  verdict: async (client, step) => plain(await client.queue.verdict(step.id, timeout(step))),
  verdicts: async (client, step) => plain(await client.queue.verdicts(limit(step))),
  acknowledge: (client, { through }) => client.queue.acknowledgeVerdicts(Number(through)),
  retry: (client, { id }) => client.queue.retry(id),
  retry_chain: (client, { id }) => list('ids', client.queue.retryChain(id)),
  discard: (client, { id }) => client.queue.discard(id),
  discard_chain: (client, { id }) => list('ids', client.queue.discardChain(id)),
  perform: async (client, step) => plain(await client.perform(step.action, step.arguments ?? {}, { integers: 'auto' })),
  perform_again: async (client, step) => plain(await client.queue.performAgain(step.id, step.arguments ?? {}, { integers: 'auto' })),
  history: (client, step) => list('history', client.queue.history(limit(step))),
  undo: async (client, { id }) => plain(await client.queue.undo(id)),
  redo: async (client, { id }) => plain(await client.queue.redo(id)),
  prune: (client, { count, bytes, age }) => list('count', client.queue.prune({ count, bytes, ageSeconds: age })),
  reset: async (client, { keep, give_up = [] }) => plain(await client.storage.reset(keep, give_up)),
  import: async (client, { path }) => plain(await client.storage.importSynchro(path)),
  suspend: (client) => client.sync.suspend(),
  resume: (client) => client.sync.resume(),
  checkpoint: (client, { mode }) => client.storage.checkpoint(mode),
  diagnose: async (client) => ({ bundle: JSON.stringify(await client.storage.diagnose()) }),
  path: async (client) => ({ path: client.path }),
};

/** Commands of a statement, for a client or a transaction, snapshot or action context. */
const STATEMENTS: Record<string, (target: Json, step: Json) => Promise<Json>> = {
  exec: async (target, step) => ({ changes: await target.execute(step.sql, params(step)) }),
  batch: async (target, step) => ({ changes: await target.batch(statements(step)) }),
  rows: async (target, step) => rows(await target.rows(step.sql, params(step), { integers: 'bigint' })),
  returning: async (target, step) => ({ rows: (await target.executeReturning(step.sql, params(step), { integers: 'bigint' })).map((row: object) => Object.values(row).map(cell)) }),
};

const params = ({ params: cells = [] }: Json): SqlParam[] => cells.map(param);
const statements = ({ statements: all }: Json): { sql: string; params: SqlParam[] }[] => all.map((one: Json) => ({ sql: one.sql, params: params(one) }));

function param(value: Json): SqlParam {
  if (value === null || typeof value !== 'object') return value as SqlParam;
  if ('i' in value) return BigInt(value.i);
  if ('r' in value) return real(Buffer.from(value.r, 'hex').readDoubleBE());
  return new Uint8Array(Buffer.from(value.b, 'hex'));
}

/** Encodes a value that was read in the mode `'bigint'`: a number is a real. */
function cell(value: SqlValue): Json {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'bigint' || typeof value === 'boolean') return { i: String(BigInt(value)) };
  if (typeof value !== 'number') return { b: Buffer.from(value).toString('hex') };
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(value);
  return { r: bits.toString('hex') };
}

function rows(found: RowBuffer): Json {
  const read = (row: number): Json[] => found.columns.map((_, column) => cell(found.cell(row, column)));
  return { columns: found.columns, rows: Array.from({ length: found.length }, (_, row) => read(row)) };
}

/** Members that hold SQLite values: one, a list, or by name. */
const CELLS = new Set(['key', 'keys', 'old', 'new', 'wrote', 'present']);
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replaceAll('-', '_');
const member = (name: string): string => snake(name).replace(/_ms$|_value$/, '');

/** Converts a report of the package to JSON with the member names and constants of the scenarios. */
function plain(value: Json, name = ''): Json {
  if (Array.isArray(value)) return value.map((one) => plain(one, name));
  if (CELLS.has(name) && (typeof value !== 'object' || value instanceof Uint8Array)) return cell(value as SqlValue);
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string' && ['kind', 'fault', 'first_sync'].includes(name)) return snake(value);
  if (typeof value !== 'object' || value === null) return value ?? null;
  if (name === 'value') return JSON.parse(JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? Number(one) : one)));
  if (['wrote', 'present', 'mine', 'theirs'].includes(name)) return Object.fromEntries(Object.entries(value).map(([column, one]) => [column, cell(Number.isInteger(one) ? BigInt(one as number) : (one as SqlValue))]));
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [member(key), plain(one, key === 'value' ? key : member(key))]));
}

/** Converts the member names of `config` to those of the package. */
function configuration(config: Json): object {
  const camel = (name: string): string => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const one = ([name, value]: [string, Json]): [string, Json] => {
    if (name === 'policies') return [name, Object.fromEntries(Object.entries(value).map(([table, policy]) => [table, String(policy).replaceAll('_', '-')]))];
    return [['run', 'rebase', 'transaction_idle'].includes(name) ? `${camel(name)}Ms` : camel(name), typeof value === 'object' ? configuration(value) : value];
  };
  return Object.fromEntries(Object.entries(config).map(one));
}

/** Converts an error to an answer. */
function failure(error: unknown): Json {
  if (error instanceof Own) return { error: 'Own', reason: error.message };
  const { message: reason } = error as Error;
  if (!(error instanceof RejoinError)) return { error: 'Other', reason };
  const { code, name: _, ...data } = error as RejoinError & ActionError;
  return { ...plain(data), error: code, reason };
}
