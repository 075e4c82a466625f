/**
 * `client.queue`: mutations that the server has not accepted, decisions about them, verdicts, and the history of accepted mutations.
 *
 * None needs a network. When the promise of a decision is fulfilled, the decision is on disk; when it is rejected, nothing was changed. The
 * meaning of each decision is in `docs/verdicts.md`.
 */
import { performing } from './acting';
import type { Performed } from './action-types';
import type { ffi } from './border';
import type { Subscription } from './callback';
import { lowerTimeout } from './config';
import type { Engine } from './engine';
import { InvalidInputError } from './errors';
import { type AcceptedMutation, type HistoryBounds, lowerBounds, lowerCount, raiseAccepted, raiseUndone, type Undone } from './history';
import { encodeJson, type Json, type JsonParam } from './json';
import { type PendingCounts, type PendingMutation, raiseMutation, raiseRowState, type RowSyncState } from './mutations';
import type { DecodeOptions } from './row-buffer';
import { lower, lowerStatements, type Statement } from './statement';
import { type AbortOptions, inEdit, type Transaction } from './transaction';
import type { SqlParam } from './value';
import { raiseVerdict, raiseVerdicts, type Verdict, type Verdicts, verdictsOf } from './verdicts';

/** Pending and parked mutations, verdicts and the history; from {@link RejoinClient.queue}. */
export class QueueHandle {
  readonly #engine: Engine;

  /** @internal */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** The mutations that the server has not accepted, oldest first. `integers` overrides the configured integer mode. */
  async all({ integers = this.#engine.integers }: DecodeOptions = {}): Promise<PendingMutation[]> {
    const mutations = await this.#engine.call((inner) => inner.pending());
    return mutations.map((mutation) => raiseMutation(mutation, integers));
  }

  /** Those of {@link all} that wait for the server: pending, sent and uncertain. */
  async pending(options?: DecodeOptions): Promise<PendingMutation[]> {
    return (await this.all(options)).filter(({ state }) => state !== 'parked');
  }

  /** Those of {@link all} that wait for a decision of the app. */
  async parked(options?: DecodeOptions): Promise<PendingMutation[]> {
    return (await this.all(options)).filter(({ state }) => state === 'parked');
  }

  /** The number of mutations in each state. */
  async counts(): Promise<PendingCounts> {
    return this.#engine.call((inner) => inner.pendingCounts());
  }

  /** The sync state of a row. Throws InvalidInputError for a table that is not synced. */
  async rowState(table: string, key: SqlParam): Promise<RowSyncState> {
    return raiseRowState(await this.#engine.call((inner) => inner.rowSyncState(table, lower(key, 'the key'))));
  }

  /**
   * Queues a parked mutation again, as it was written: it goes to the end of the queue, its rows are visible at once, and the server
   * compares it with the rows as they are now. So the user's choice in a conflict wins. An action runs again.
   *
   * @throws ParentParkedError, with the id, while the mutation that inserts its row is parked; InvalidInputError if there is no mutation with
   *   this id, or it is not parked.
   */
  async retry(id: string): Promise<void> {
    await this.#engine.call((inner) => inner.retry(id));
  }

  /** Retries a mutation, if it is parked, and all that are parked because of it, in queue order; returns their ids. */
  async retryChain(id: string): Promise<string[]> {
    return this.#engine.call((inner) => inner.retryChain(id));
  }

  /**
   * Edits a parked or pending mutation: applies its writes to the current rows, then runs the body (or the statements, in one call). The
   * result is a new mutation of plain SQL at the end of the queue, which replaces the old one. For an action, prefer
   * {@link performAgain}.
   *
   * ```ts
   * const edited = await client.queue.edit(parked.id, (tx) => tx.execute('UPDATE task SET title = ? WHERE id = ?', [title, id]));
   * if (edited !== undefined) await client.queue.retryChain(edited); // Also retries what was parked because of the old one.
   * ```
   *
   * Returns the id of the new mutation, or undefined if no change is left. The body and the signal work as in
   * {@link RejoinClient.transaction}.
   *
   * @throws what the body, `transaction` and `batch` throw; InvalidInputError if there is no mutation with this id.
   */
  async edit(
    id: string,
    change: readonly Statement[] | ((tx: Transaction) => Promise<unknown> | unknown),
    { signal }: AbortOptions = {},
  ): Promise<string | undefined> {
    if (typeof change === 'function') return inEdit(this.#engine.ffi, id, this.#engine.integers, change, signal);
    return this.#engine.call((inner) => inner.edit(id, lowerStatements(change)));
  }

  /**
   * Replaces a parked or pending action: reverts its writes and performs its newest version with these arguments on the current rows. The
   * result is a new mutation at the end of the queue, which replaces the old one, in one transaction. If the action writes nothing this
   * time, there is no new mutation.
   *
   * ```ts
   * const { id } = await client.queue.performAgain(parked.id, { id: 'nails', n: 1 });
   * if (id !== undefined) await client.queue.retryChain(id); // Also retries what was parked because of the old one.
   * ```
   *
   * Works offline. Pass all arguments of the action; the type parameter and cancellation are as for {@link RejoinClient.perform}.
   *
   * @throws what {@link RejoinClient.perform} throws; InvalidInputError if there is no mutation with this id, if it is not an action, or if
   *   it was sent to a server that cannot withdraw it. Nothing was changed then.
   */
  async performAgain<T = Json>(
    id: string,
    args: { readonly [name: string]: JsonParam | undefined } = {},
    { integers = this.#engine.integers }: DecodeOptions = {},
  ): Promise<Performed<T>> {
    return performing<T>(async () => this.#engine.ffi.performAgain(id, encodeJson(args, 'the arguments')), integers);
  }

  /**
   * Discards a pending or parked mutation permanently and reverts its writes. One that was sent without a verdict is discarded too; it is
   * withdrawn from the server when its verdict arrives.
   *
   * @throws InvalidInputError if there is no mutation with this id, or it was sent to a server of an older release, which cannot withdraw.
   */
  async discard(id: string): Promise<void> {
    await this.#engine.call((inner) => inner.discard(id));
  }

  /** Discards a mutation and all that depend on a row that it inserted; returns their ids. */
  async discardChain(id: string): Promise<string[]> {
    return this.#engine.call((inner) => inner.discardChain(id));
  }

  /** Waits for the server's verdict on a mutation. Throws OfflineError after the timeout; the mutation stays in the queue. */
  async verdict(id: string, timeoutMs?: number): Promise<Verdict> {
    return raiseVerdict(await this.#engine.call((inner) => inner.verdict(id, lowerTimeout(timeoutMs))), this.#engine.integers);
  }

  /**
   * The verdicts that the app has not acknowledged, oldest first, at most `limit`. Each attempt of a mutation gets one entry, which is stored
   * when it arrives: no crash and no restart loses one.
   */
  async verdicts(limit: number): Promise<Verdicts> {
    return raiseVerdicts(await this.#engine.call((inner) => inner.verdicts(lowerCount(limit, 'limit'))), this.#engine.integers);
  }

  /** Acknowledges the verdicts up to this number: they are not reported again. */
  async acknowledgeVerdicts(through: number): Promise<void> {
    await this.#engine.call((inner) => inner.acknowledgeVerdicts(BigInt(lowerNumber(through))));
  }

  /**
   * The unacknowledged verdicts, then new ones as they arrive, each once in each loop.
   *
   * ```ts
   * for await (const { entries } of client.queue.watchVerdicts()) {
   *   for (const verdict of entries) if (verdict.kind === 'parked') show(verdict);
   *   await client.queue.acknowledgeVerdicts(entries.at(-1)?.number ?? 0);
   * }
   * ```
   *
   * The next loop, also after a restart, gets the unacknowledged ones again: at-least-once delivery. Leaving the loop, the signal and the
   * shutdown of the client end it.
   */
  watchVerdicts({ signal }: AbortOptions = {}): AsyncIterable<Verdicts> {
    return verdictsOf((observer) => this.onVerdicts(observer), signal);
  }

  /** Calls `observer` with the verdicts of {@link watchVerdicts} until it is cancelled. An error that it throws is printed on the console. */
  onVerdicts(observer: (verdicts: Verdicts) => unknown): Subscription {
    return this.#engine.observe((inner, notify) => {
      const onVerdicts = (verdicts: ffi.Verdicts): void => notify(() => observer(raiseVerdicts(verdicts, this.#engine.integers)), 'an observer of verdicts');
      return inner.watchVerdicts({ onVerdicts });
    });
  }

  /**
   * The accepted mutations that are still in the history, newest first, at most `limit` (default 100). Accepted
   * entries of the log are listed until they are folded into the base.
   */
  async history(limit = 100, { integers = this.#engine.integers }: DecodeOptions = {}): Promise<AcceptedMutation[]> {
    const accepted = await this.#engine.call((inner) => inner.history(lowerCount(limit, 'limit')));
    return accepted.map((one) => raiseAccepted(one, integers));
  }

  /**
   * Undoes a mutation. One without a verdict is discarded, as by {@link discard}. For an accepted one a new mutation restores each column to
   * its value before, and conflicts instead of overwriting newer changes. All or nothing.
   *
   * @throws ChangedError with the rows that have changed since; InvalidInputError if the mutation is no longer in the history, or is
   *   parked, because then its writes are not in the rows.
   */
  async undo(id: string): Promise<Undone> {
    return raiseUndone(await this.#engine.call((inner) => inner.undo(id)));
  }

  /** Redoes the undone mutation `id`. Throws InvalidInputError if it was not undone; otherwise as {@link undo}. */
  async redo(id: string): Promise<Undone> {
    return raiseUndone(await this.#engine.call((inner) => inner.redo(id)));
  }

  /** Deletes history beyond these bounds and returns the number of mutations, which can then no longer be undone. */
  async prune(bounds: HistoryBounds = {}): Promise<number> {
    return this.#engine.call((inner) => inner.prune(lowerBounds(bounds)));
  }
}

function lowerNumber(number: number): number {
  if (Number.isSafeInteger(number)) return number;
  throw new InvalidInputError(`${String(number)} is no number of a verdict`);
}
