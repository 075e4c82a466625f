/**
 * A device of `tests/interop`, driven by lines: one JSON object in, one out, in order.
 *
 * Promise: what `tests/interop/README.md` says. It uses the package as an app does.
 * Border: nothing but answers on standard output; ends when its standard input closes.
 */
import { createInterface } from 'node:readline';
import {
  type PendingRow,
  real,
  RejoinClient,
  RejoinError,
  type SqlParam,
  type SqlValue,
  type Transaction,
} from '../src/index';

type Cell = null | string | { i: string } | { r: string } | { b: string };
interface Order {
  readonly do: string;
  readonly path: string;
  readonly url: string;
  readonly user: string;
  readonly token: string;
  readonly schema: object;
  readonly sql: string;
  readonly params?: readonly Cell[];
  readonly statements: readonly { readonly sql: string; readonly params?: readonly Cell[] }[];
}

/** The error that the body of `fail` throws. */
class Own extends Error {}

let opened: RejoinClient | undefined;

function client(): RejoinClient {
  if (opened === undefined) throw new Error('open was not ordered');
  return opened;
}

function param(cell: Cell): SqlParam {
  if (cell === null || typeof cell === 'string') return cell;
  if ('i' in cell) return BigInt(cell.i);
  if ('r' in cell) return real(Buffer.from(cell.r, 'hex').readDoubleBE());
  return new Uint8Array(Buffer.from(cell.b, 'hex'));
}

/** A value read with bigints for integers, so that a number is a real. */
function cell(value: SqlValue): Cell {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'bigint') return { i: String(value) };
  if (typeof value !== 'number') return { b: Buffer.from(value).toString('hex') };
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(value);
  return { r: bits.toString('hex') };
}

async function open({ path, url, user, token, schema }: Order): Promise<object> {
  const config = { path, serverUrl: url, userId: user, schemaJson: JSON.stringify(schema) };
  const pace = { syncIntervalMs: 3_600_000, pushDebounceMs: 0, integers: 'bigint' } as const;
  opened = await RejoinClient.open({ ...config, ...pace }, { tokens: { token: () => token } });
  return { ok: true };
}

/** Runs the statements of an order one by one. */
async function all({ statements }: Order, tx: Transaction): Promise<number[]> {
  const changes: number[] = [];
  for (const { sql, params = [] } of statements) changes.push(await tx.execute(sql, params.map(param)));
  return changes;
}

async function fail(order: Order): Promise<object> {
  const own = new Own('the body throws');
  try {
    await client().transaction(async (tx) => {
      await all(order, tx);
      throw own;
    });
  } catch (error) {
    if (error === own) return { thrown: true };
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Answers when the statements have run; the body never ends. */
function hold(order: Order): Promise<object> {
  return new Promise((held, failed) => {
    const body = async (tx: Transaction): Promise<void> => {
      await all(order, tx);
      held({ held: true });
      await new Promise<never>(() => undefined);
    };
    client().transaction(body).catch(failed);
  });
}

async function rows({ sql, params = [] }: Order): Promise<object> {
  const found = await client().rows(sql, params.map(param));
  const read = (_: string, row: number, column: number): Cell => cell(found.cell(row, column));
  const cells = Array.from({ length: found.length }, (_, row) => found.columns.map((name, column) => read(name, row, column)));
  return { columns: found.columns, rows: cells };
}

async function pending(): Promise<object> {
  const row = ({ table, key, operation, columns }: PendingRow): object => ({
    table,
    key: cell(key),
    operation,
    columns: columns.map(({ name, oldValue, newValue }) => ({ name, old: cell(oldValue), new: cell(newValue) })),
  });
  const mutations = await client().pending();
  const told = mutations.map(({ id, state, reason = null, rows: of }) => ({ id, state, reason, rows: of.map(row) }));
  return { pending: told };
}

async function sync(): Promise<object> {
  const { accepted, parked, pulled, stillPending } = await client().syncAndWait(30_000);
  return { accepted, parked, pulled, still_pending: stillPending };
}

async function close(): Promise<object> {
  await opened?.shutdown();
  opened = undefined;
  return { ok: true };
}

const ORDERS: Record<string, (order: Order) => Promise<object>> = {
  open,
  exec: async ({ sql, params = [] }) => ({ changes: await client().execute(sql, params.map(param)) }),
  batch: async (order) => ({ changes: await client().transaction((tx) => all(order, tx)) }),
  fail,
  hold,
  rows,
  sync,
  pending,
  close,
  quit: close,
};

async function answer(line: string): Promise<object> {
  try {
    const order = JSON.parse(line) as Order;
    const carryOut = ORDERS[order.do];
    if (carryOut === undefined) throw new Error(`no order ${order.do}`);
    return await carryOut(order);
  } catch (error) {
    return { error: error instanceof RejoinError ? error.code : 'Other', reason: (error as Error).message };
  }
}

for await (const line of createInterface(process.stdin)) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
  if (line.includes('"quit"') && (JSON.parse(line) as Order).do === 'quit') break;
}
process.exit(0);
