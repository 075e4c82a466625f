/**
 * The JavaScript benchmarks of `bench/README.md`; prints one line of JSON per figure.
 *
 * Measures wall-clock time. The two sides of a comparison alternate, and the ratio is the median of the ratios. One peer for rows is
 * `JSON.parse` of the same rows. The target applies to parsing a string that is already in memory. The other comparison includes building
 * the JSON in SQLite and passing it over the FFI boundary, as an app without row buffers would. The other peer is better-sqlite3, which
 * blocks JavaScript's thread meanwhile; `REJOIN_BENCH_PEERS` names the folder where npm has installed it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RejoinClient, RowBuffer, type SqlParam } from '../node/index';
import { renders } from './hooks';

const ROWS = 10_000;
const WRITES = 1_000;
const COMMITS = 1_000;
const ROUNDS = 31;
const COLUMNS = ['id', 'title', 'body', 'count', 'amount', 'done', 'note', 'updated_at'] as const;
const ALL = 'SELECT * FROM item ORDER BY id';
const PAIRS = COLUMNS.map((name) => `'${name}', ${name}`).join(', ');
const AS_JSON = `SELECT json_group_array(json_object(${PAIRS})) AS json FROM (${ALL})`;
const UPDATE = 'UPDATE item SET title = ?, count = ? WHERE id = ?';
const INSERT = `INSERT INTO item VALUES (${COLUMNS.map(() => '?').join(', ')})`;
const TABLE = 'id TEXT PRIMARY KEY, title TEXT, body TEXT, count INTEGER, amount REAL, done INTEGER, note TEXT, updated_at TEXT';

const key = (number: number): string => `01900000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`;

function row(number: number): SqlParam[] {
  const body = `the body of item ${number}, which is a sentence of ordinary length`;
  const note = number % 3 === 0 ? null : 'noted';
  const done = number % 2 === 0;
  return [key(number), `item number ${number}`, body, number, number * 1.25, done, note, '2026-11-20T08:00:00.000000Z'];
}

interface Figure {
  readonly what: string;
  readonly ours_ms: number;
  readonly peer?: string;
  readonly peer_ms?: number;
  readonly ratio?: number;
}

const say = (figure: Figure): void => console.log(JSON.stringify({ peer: null, peer_ms: null, ratio: null, ...figure }));

function percentile(all: readonly number[], part: number): number {
  const sorted = [...all].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

const median = (all: readonly number[]): number => percentile(all, 0.5);

async function timed(work: () => unknown): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** Times synchronous work, so that the figure contains no turn of the event loop. */
function spent(work: () => unknown): number {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

async function alone(what: string, work: () => unknown): Promise<void> {
  for (let round = 0; round < 5; round += 1) await work();
  const all: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) all.push(await timed(work));
  say({ what, ours_ms: median(all) });
}

/** Measures ours and the peer's alternately; the first rounds warm up the JIT compiler. */
async function against(
  what: string,
  peer: string,
  ours: () => unknown,
  theirs: () => unknown,
  clock: (work: () => unknown) => number | Promise<number> = timed,
): Promise<void> {
  const [mine, other, ratios]: [number[], number[], number[]] = [[], [], []];
  for (let round = -5; round < ROUNDS; round += 1) {
    const first = round % 2 === 0;
    const a = first ? await clock(ours) : 0;
    const b = await clock(theirs);
    const c = first ? a : await clock(ours);
    if (round < 0) continue;
    mine.push(c);
    other.push(b);
    ratios.push(c / b);
  }
  say({ what, ours_ms: median(mine), peer, peer_ms: median(other), ratio: median(ratios) });
}

/** The members used here of better-sqlite3. */
interface BetterSqlite3 {
  exec(sql: string): void;
  pragma(text: string): unknown;
  prepare(sql: string): { all(): unknown[]; run(params: readonly unknown[]): unknown };
  close(): void;
}

function betterSqlite3(path: string): BetterSqlite3 {
  const peers = process.env['REJOIN_BENCH_PEERS'];
  if (peers === undefined) throw new Error('REJOIN_BENCH_PEERS is not set; `cargo xtask bench javascript` sets it');
  const Database = createRequire(join(peers, 'package.json'))('better-sqlite3') as new (path: string) => BetterSqlite3;
  const database = new Database(path);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  database.exec(`CREATE TABLE item (${TABLE})`);
  const statement = database.prepare(INSERT);
  database.exec('BEGIN');
  for (let number = 0; number < ROWS; number += 1) statement.run(row(number).map((value) => (typeof value === 'boolean' ? Number(value) : value)));
  database.exec('COMMIT');
  return database;
}

async function rows(client: RejoinClient, peer: BetterSqlite3): Promise<void> {
  const json = async (): Promise<string> => (await client.rows(AS_JSON)).cell(0, 0) as string;
  const parsed = async (): Promise<unknown[]> => JSON.parse(await json()) as unknown[];
  const [ours, theirs] = [await client.query(ALL), await parsed()];
  if (ours.length !== ROWS || JSON.stringify(ours) !== JSON.stringify(theirs)) throw new Error('the two sides differ');

  await alone('10,000 x 8 rows to bytes', () => client.rows(ALL));
  await against('10,000 x 8 rows into objects', 'JSON made in SQL, JSON.parse', () => client.query(ALL), parsed);

  const all = peer.prepare(ALL);
  await against('10,000 x 8 rows into objects', 'better-sqlite3', () => client.query(ALL), () => all.all());

  // The decoding alone: both sides start from memory, as bytes from the engine or as the parser's input.
  const { bytes } = await client.rows(ALL);
  const text = await json();
  const utf8 = new TextEncoder().encode(text);
  const decode = (): unknown => new RowBuffer(bytes).toArray();
  const decoder = new TextDecoder();
  await against('the same, from bytes', 'JSON.parse of bytes', decode, () => JSON.parse(decoder.decode(utf8)), spent);
  await against('the same, from a string', 'JSON.parse of the same rows', decode, () => JSON.parse(text), spent);
}

async function writes(client: RejoinClient, peer: BetterSqlite3): Promise<void> {
  let round = 0;
  const update = peer.prepare(UPDATE);
  const ours = async (): Promise<void> => {
    round += 1;
    for (let number = 0; number < WRITES; number += 1) {
      await client.execute(UPDATE, [`title at ${round}`, number, key(number)]);
    }
  };
  await against('1,000 writes', 'better-sqlite3', ours, () => {
    for (let number = 0; number < WRITES; number += 1) update.run([`title at ${round}`, number, key(number)]);
  });
}

/** The time from the call of a write to the watched result that contains it, one commit after the other. */
async function emissions(client: RejoinClient): Promise<void> {
  const delays: number[] = [];
  const watch = client.watch<{ count: number }>('SELECT count FROM item WHERE id = ?', [key(1)])[Symbol.asyncIterator]();
  await watch.next();
  for (let number = -50; number < COMMITS; number += 1) {
    const begin = performance.now();
    const written = client.execute('UPDATE item SET count = ? WHERE id = ?', [ROWS + number, key(1)]);
    const { value } = await watch.next();
    if (number >= 0) delays.push(performance.now() - begin);
    if (value?.[0]?.count !== ROWS + number) throw new Error('another result than the one that was written');
    await written;
  }
  await watch.return?.();
  say({ what: 'commit to emission, p50', ours_ms: median(delays) });
  say({ what: 'commit to emission, p99', ours_ms: percentile(delays, 0.99) });
}

async function renderings(client: RejoinClient): Promise<void> {
  const write = (count: number): Promise<unknown> => client.execute('UPDATE item SET count = ? WHERE id = ?', [count, key(2)]);
  const delays = await renders(client, write, `SELECT count FROM item WHERE id = '${key(2)}'`, COMMITS);
  say({ what: 'commit to render of a hook, p50', ours_ms: median(delays) });
  say({ what: 'commit to render of a hook, p99', ours_ms: percentile(delays, 0.99) });
}

const folder = mkdtempSync(join(tmpdir(), 'rejoin-bench-'));
const client = await RejoinClient.open({ path: join(folder, 'a.db') });
await client.schema.createTable('item', TABLE);
await client.batch(Array.from({ length: ROWS }, (_, number) => ({ sql: INSERT, params: row(number) })));
const peer = betterSqlite3(join(folder, 'peer.db'));
await rows(client, peer);
await writes(client, peer);
peer.close();
await emissions(client);
await renderings(client);
await client.shutdown();
rmSync(folder, { recursive: true, force: true });
