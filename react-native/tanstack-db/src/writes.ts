/** Writes of collections: all mutations of a TanStack transaction in one transaction of the client, shown before the optimistic state ends. */
import { InvalidInputError, type RejoinDatabase, type SqlParam, type Statement } from '@rejoin/react-native';

/** The table behind a collection. */
export class Target {
  /** The running feeds of its collections. */
  readonly feeds = new Set<{ refresh(): Promise<void> }>();

  constructor(
    readonly client: RejoinDatabase,
    readonly table: string,
    readonly key: string,
  ) {}

  /** Whether a table has the name of this one. */
  is(table: string): boolean {
    return table.toLowerCase() === this.table.toLowerCase();
  }
}

/** The target of each collection, by its `utils`. */
const targets = new WeakMap<object, Target>();

export function register(utils: object, target: Target): void {
  targets.set(utils, target);
}

/** The part of a TanStack mutation that is written. */
interface Written {
  readonly type: 'insert' | 'update' | 'delete';
  readonly key: unknown;
  readonly modified: object;
  readonly changes: object;
  readonly collection: { readonly id: string; readonly utils: object };
}

/**
 * Writes a transaction over one or several collections of one client as one mutation, in the order of its calls: all or nothing.
 *
 * ```ts
 * const transaction = createTransaction({ mutationFn: rejoinMutationFn });
 * transaction.mutate(() => {
 *   tags.delete('g1');
 *   tasks.delete('t1');
 * });
 * ```
 *
 * Fulfilled when the write is on disk and in the rows of the collections.
 *
 * @throws InvalidInputError if a collection is not from `rejoinCollectionOptions`, or the collections have different clients; what
 *   `client.batch` throws. Nothing was changed.
 */
export async function rejoinMutationFn({ transaction }: { transaction: { mutations: readonly Written[] } }): Promise<void> {
  const writes = transaction.mutations.map((mutation) => ({ mutation, target: targetOf(mutation) }));
  const client = writes[0]?.target.client;
  if (client === undefined) return;
  if (writes.some(({ target }) => target.client !== client)) {
    throw new InvalidInputError('the collections of a transaction have different clients; use one transaction for each client');
  }
  await client.batch(writes.map(({ mutation, target }) => statement(mutation, target)));
  const feeds = new Set(writes.flatMap(({ target }) => [...target.feeds]));
  await Promise.all([...feeds].map((feed) => feed.refresh()));
}

function targetOf({ collection }: Written): Target {
  const target = targets.get(collection.utils);
  if (target !== undefined) return target;
  throw new InvalidInputError(`collection ${collection.id} is not from rejoinCollectionOptions; write it in another transaction`);
}

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Properties that TanStack DB adds to the rows that it returns. */
const VIRTUAL = new Set(['$synced', '$origin', '$key', '$collectionId', '$hasPendingWrites']);

function statement({ type, key: id, modified, changes }: Written, { table, key }: Target): Statement {
  const where = `WHERE ${quote(key)} = ?`;
  if (type === 'delete') return { sql: `DELETE FROM ${quote(table)} ${where}`, params: [id as SqlParam] };
  const cells = Object.entries(type === 'insert' ? modified : changes).filter(([name]) => !VIRTUAL.has(name)) as [string, SqlParam | undefined][];
  if (type === 'update') {
    const set = cells.map(([name]) => `${quote(name)} = ?`).join(', ');
    return { sql: `UPDATE ${quote(table)} SET ${set} ${where}`, params: [...cells.map(([, value]) => value ?? null), id as SqlParam] };
  }
  const given = cells.filter((cell): cell is [string, SqlParam] => cell[1] !== undefined);
  const columns = given.map(([name]) => quote(name)).join(', ');
  return { sql: `INSERT INTO ${quote(table)} (${columns}) VALUES (${given.map(() => '?').join(', ')})`, params: given.map(([, value]) => value) };
}
