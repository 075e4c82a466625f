/** Reads the parked mutations with the current rows, and groups those that are decided together. */
import type { ColumnValues, PendingColumn, PendingMutation, PendingRow, Row, SqlValue } from '@rejoin/react-native';
import { encode } from './identity';
import { type ParkedColumn, type ParkedRow, type ParkedWrite, quoted } from './parked-types';
import type { SyncedDatabase } from './provider';

/** The number of rows that are read for a mutation. */
const SHOWN_ROWS = 20;

/** A table on this device: its key column, and the declared types by column. */
interface TableInfo {
  readonly key: string | undefined;
  readonly types: ReadonlyMap<string, string>;
}

const nameOf = ({ table, key }: PendingRow): string => encode([table, key]);

/** Reads the parked mutations of a client, in the order of the queue. */
export async function readParked(client: SyncedDatabase): Promise<ParkedWrite[]> {
  const queue = await client.queue.all();
  const tables = new Map<string, Promise<TableInfo>>();
  const info = (table: string): Promise<TableInfo> => {
    const found = tables.get(table) ?? readTable(client, table);
    tables.set(table, found);
    return found;
  };
  const covered = new Set(queue.filter(({ state }) => state !== 'parked').flatMap(({ rows }) => rows.map(nameOf)));
  const write = async ([mutation, dependents]: readonly [PendingMutation, PendingMutation[]]): Promise<ParkedWrite> => {
    const { detail } = mutation;
    const shown = mutation.rows.slice(0, SHOWN_ROWS).map(async (row) => {
      const table = await info(row.table);
      const conflict = detail?.rows.find(({ table, key }) => table === row.table && key === row.key);
      // The current row is what a retry compares with. Below a queued edit, only the detail has the server's row.
      const isCovered = conflict !== undefined && covered.has(nameOf(row));
      const theirs = isCovered ? fromDetail(conflict.theirs, table) : await readRow(client, row, table);
      return parkedRow(row, table, theirs, conflict?.columns ?? []);
    });
    const { id, reason } = mutation;
    const rows = await Promise.all(shown);
    return { id, mutation, message: detail?.message, isConflict: reason === 'conflicted', rows, moreRows: mutation.rows.length - rows.length, dependents };
  };
  return Promise.all(groups(queue).map(write));
}

/** The parked mutations to decide, each with those that were parked because of it. */
export function groups(queue: readonly PendingMutation[]): (readonly [PendingMutation, PendingMutation[]])[] {
  const parked = queue.filter(({ state }) => state === 'parked');
  const byId = new Map(parked.map((mutation) => [mutation.id, mutation]));
  const rootOf = (mutation: PendingMutation): PendingMutation => {
    let root = mutation;
    for (const passed = new Set<PendingMutation>(); root.reason === 'depends' && !passed.has(root); ) {
      passed.add(root);
      root = byId.get(root.becauseOf ?? '') ?? root;
    }
    return root;
  };
  const roots = parked.map(rootOf);
  return parked.filter((mutation) => roots.includes(mutation)).map((root) => [root, parked.filter((one, at) => roots[at] === root && one !== root)]);
}

async function readTable(client: SyncedDatabase, table: string): Promise<TableInfo> {
  const sql = 'SELECT name, type, pk FROM pragma_table_info(?)';
  const columns = await client.query<{ name: string; type: string; pk: number }>(sql, [table], { integers: 'number' });
  return { key: columns.find(({ pk }) => pk > 0)?.name, types: new Map(columns.map(({ name, type }) => [name, type.toUpperCase()])) };
}

async function readRow(client: SyncedDatabase, { table, key }: PendingRow, { key: keyColumn }: TableInfo): Promise<Row | undefined> {
  if (keyColumn === undefined) return undefined;
  return client.queryOne<Row>(`SELECT * FROM ${quoted(table)} WHERE ${quoted(keyColumn)} = ?`, [key]);
}

function fromDetail(theirs: ColumnValues | null, { types }: TableInfo): Row | undefined {
  if (theirs === null) return undefined;
  return Object.fromEntries(Object.entries(theirs).map(([name, value]) => [name, declared(value, types.get(name))]));
}

/** A value as a query returns it from a column of this declared type: 0 and 1 of BOOLEAN are booleans. */
export function declared(value: SqlValue, type: string | undefined): SqlValue {
  if (type === 'BOOLEAN') return value === 0 || value === 0n ? false : value === 1 || value === 1n ? true : value;
  return typeof value === 'boolean' ? Number(value) : value;
}

function parkedRow(row: PendingRow, { key: keyColumn, types }: TableInfo, theirs: Row | undefined, conflicts: readonly string[]): ParkedRow {
  const { table, key, operation } = row;
  const column = ({ name, newValue }: PendingColumn): ParkedColumn => {
    const [mine, other] = [
      operation === 'delete' ? undefined : declared(newValue, types.get(name)),
      theirs === undefined ? undefined : (theirs[name] ?? null),
    ];
    return { name, mine, theirs: other, differs: encode(mine) !== encode(other), isConflict: conflicts.includes(name) };
  };
  const isShown = ({ name, mine, theirs: other }: ParkedColumn, old: SqlValue): boolean => {
    if (name === keyColumn) return false;
    if (operation === 'insert') return mine !== null || (other ?? null) !== null;
    return operation === 'update' || (other !== undefined && encode(other) !== encode(declared(old, types.get(name))));
  };
  const columns = row.columns.map((written) => [column(written), written.oldValue] as const).filter(([shown, old]) => isShown(shown, old));
  return { table, key, keyColumn, operation, exists: theirs !== undefined, columns: columns.map(([shown]) => shown) };
}
