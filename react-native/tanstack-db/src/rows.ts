/**
 * The rows of a collection, from a watch of its table.
 *
 * After a write of the collection the watch starts again, so its first result has the write, and the optimistic state ends without a
 * flicker. A failed watch starts again after the next commit. After `stop` nothing is reported.
 */
import { InvalidInputError, type PendingMutation, type RejoinError, type Subscription } from '@rejoin/react-native';
import { deepEquals, type SyncConfig } from '@tanstack/db';
import type { Target } from './writes';

type Key = string | number;
type Actions<T extends object> = Parameters<SyncConfig<T, Key>['sync']>[0];

/** Reads the parked mutations, and reports each once. */
interface Parked {
  readonly read: () => Promise<PendingMutation[]>;
  readonly report: (mutation: PendingMutation) => unknown;
}

export class RowFeed<T extends object> {
  readonly #target: Target;
  readonly #actions: Actions<T>;
  readonly #parked: Parked | undefined;
  readonly #reported = new Set<string>();
  readonly #changes: Subscription;
  #shown = new Map<Key, T>();
  /** The current watch, and whether it has had its first result. */
  #watch = new AbortController();
  #hasResult = false;
  /** Callers of `refresh` whose writes the next watch has, and those whose writes the first result of the current one has. */
  readonly #waiting: (() => void)[] = [];
  readonly #covered: (() => void)[] = [];
  /** The number of commits that were reported. */
  #commits = 0;
  #wake: (() => void) | undefined;
  #isStopped = false;

  constructor(target: Target, actions: Actions<T>, parked: Parked | undefined) {
    this.#target = target;
    this.#actions = actions;
    this.#parked = parked;
    this.#changes = target.client.onChange([], ({ queue }) => {
      this.#commits += 1;
      this.#wake?.();
      if (queue) void this.#reportParked();
    });
    void this.#follow();
    void this.#reportParked();
  }

  /** Resolves when the collection has the result of a query that began after this call, or cannot have one. */
  refresh(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#hasResult) this.#watch.abort();
      this.#wake?.();
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#changes.cancel();
    this.#watch.abort();
    this.#wake?.();
    settle(this.#waiting);
    settle(this.#covered);
  }

  async #follow(): Promise<void> {
    while (!this.#isStopped) {
      // The query begins after these writes, so its first result has them.
      this.#covered.push(...this.#waiting.splice(0));
      const commits = this.#commits;
      try {
        await this.#showWatch();
      } catch (error) {
        if (!this.#isStopped) this.#actions.markError(error);
      }
      settle(this.#covered);
      // The watch failed, or the client was shut down. A commit that was reported since may have made the difference.
      const isOver = !this.#isStopped && this.#waiting.length === 0 && this.#commits === commits;
      if (isOver) await new Promise<void>((wake) => (this.#wake = wake));
      this.#wake = undefined;
    }
  }

  /** Shows the results of one watch until it ends. */
  async #showWatch(): Promise<void> {
    this.#watch = new AbortController();
    this.#hasResult = false;
    const { client, table } = this.#target;
    const options = { integers: 'auto', signal: this.#watch.signal } as const;
    const watch = client.watch<T>(`SELECT * FROM "${table.replaceAll('"', '""')}"`, [], options);
    // Not `for await`, and the name that the client uses: older versions of Hermes have no `Symbol.asyncIterator`.
    const results = watch[Symbol.asyncIterator ?? ('@@asyncIterator' as never)]();
    for (let next = await results.next(); next.done !== true; next = await results.next()) {
      this.#show(next.value);
      this.#hasResult = true;
      settle(this.#covered);
      if (this.#waiting.length > 0) this.#watch.abort();
    }
  }

  /** Writes the differences from the previous result to the collection. */
  #show(rows: T[]): void {
    const { begin, write, commit, markReady } = this.#actions;
    const next = new Map(rows.map((row) => [this.#keyOf(row), row]));
    if (next.size < rows.length) {
      throw new InvalidInputError(`two rows of ${this.#target.table} have the same ${this.#target.key}; choose the primary key`);
    }
    const before = this.#shown;
    this.#shown = next;
    begin();
    for (const [key, value] of next) {
      const known = before.get(key);
      if (known === undefined || !deepEquals(known, value)) write({ type: known === undefined ? 'insert' : 'update', value });
    }
    for (const key of before.keys()) if (!next.has(key)) write({ type: 'delete', key });
    commit();
    markReady();
  }

  #keyOf(row: T): Key {
    const { table, key } = this.#target;
    const value: unknown = row[key as keyof T];
    if (typeof value === 'string' || typeof value === 'number') return value;
    throw new InvalidInputError(`a row of ${table} has no text or number as ${key}; choose the primary key`);
  }

  async #reportParked(): Promise<void> {
    if (this.#parked === undefined) return;
    try {
      const parked = (await this.#parked.read()).filter(({ id, attempt }) => !this.#reported.has(`${id} ${attempt}`));
      for (const { id, attempt } of parked) this.#reported.add(`${id} ${attempt}`);
      if (parked.length > 0) await this.refresh();
      for (const mutation of parked) if (!this.#isStopped) await this.#parked.report(mutation);
    } catch (error) {
      if (!this.#isStopped && (error as RejoinError).code !== 'Closed') console.error(`rejoin: onParked of ${this.#target.table} threw`, error);
    }
  }
}

function settle(waiting: (() => void)[]): void {
  for (const resolve of waiting.splice(0)) resolve();
}
