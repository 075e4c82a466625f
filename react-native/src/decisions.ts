/**
 * Decisions of the app about its mutations: retry, edit, discard, undo and reset.
 *
 * None needs a network. When the promise is fulfilled, the decision is on disk; when it is rejected, nothing was changed. The meaning of
 * each decision is in `docs/verdicts.md` and `docs/identity.md`.
 */
import { performing } from './acting';
import type { Performed } from './actions';
import { crossing, type ffi, lowerStatements, type Statement } from './border';
import type { Subscription } from './callback';
import { Database } from './database';
import { InvalidInputError } from './errors';
import {
  type AcceptedMutation,
  type HistoryBounds,
  type Keep,
  lowerBounds,
  lowerCount,
  lowerKeep,
  raiseAccepted,
  raiseReset,
  raiseUndone,
  type ResetReport,
  type Undone,
} from './history';
import { encodeJson, type Json, type JsonParam } from './json';
import type { DecodeOptions } from './row-buffer';
import { type AbortOptions, inEdit, type Transaction } from './transaction';
import { raiseVerdicts, type Verdicts, verdictsOf } from './verdicts';

/** The part of a client that holds the decisions about mutations. */
export abstract class Decisions extends Database {
  /**
   * Queues a parked mutation again, as it was written: it goes to the end of the queue, its rows are visible at once, and the server
   * compares it with the rows as they are now. So the user's choice in a conflict wins. An action runs again.
   *
   * @throws StandsOnError, with the id, while the mutation that inserts its row is parked; InvalidInputError if there is no mutation with
   *   this id, or it is not parked.
   */
  async retry(id: string): Promise<void> {
    await crossing(async () => this.ffi().retry(id));
  }

  /** Retries a mutation, if it is parked, and all that are parked because of it, in queue order; returns their ids. */
  async retryChain(id: string): Promise<string[]> {
    return crossing(async () => this.ffi().retryChain(id));
  }

  /**
   * Edits a parked or pending mutation: applies its writes to the current rows, then runs the body (or the statements, in one call). The
   * result is a new mutation of plain SQL at the end of the queue, which replaces the old one. For an action, prefer
   * {@link performAgain}.
   *
   * ```ts
   * const edited = await client.edit(parked.id, (tx) => tx.execute('UPDATE task SET title = ? WHERE id = ?', [title, id]));
   * if (edited !== undefined) await client.retryChain(edited); // Also retries what was parked because of the old one.
   * ```
   *
   * Returns the id of the new mutation, or undefined if no change is left. The body and the signal work as in {@link transaction}.
   *
   * @throws what the body, `transaction` and `batch` throw; InvalidInputError if there is no mutation with this id.
   */
  async edit(
    id: string,
    change: readonly Statement[] | ((tx: Transaction) => Promise<unknown> | unknown),
    { signal }: AbortOptions = {},
  ): Promise<string | undefined> {
    if (typeof change === 'function') return inEdit(this.ffi(), id, this.integers, change, signal);
    return crossing(async () => this.ffi().edit(id, lowerStatements(change)));
  }

  /**
   * Replaces a parked or pending action: reverts its writes and performs its newest version with these arguments on the current rows. The
   * result is a new mutation at the end of the queue, which replaces the old one, in one transaction. If the action writes nothing this
   * time, there is no new mutation.
   *
   * ```ts
   * const { id } = await client.performAgain(parked.id, { id: 'nails', n: 1 });
   * if (id !== undefined) await client.retryChain(id); // Also retries what was parked because of the old one.
   * ```
   *
   * Works offline. Pass all arguments of the action; the type parameter and cancellation are as for {@link perform}.
   *
   * @throws what {@link perform} throws; InvalidInputError if there is no mutation with this id, if it is not an action, or if it was sent
   *   to a server that cannot withdraw it. Nothing was changed then.
   */
  async performAgain<T = Json>(
    id: string,
    args: { readonly [name: string]: JsonParam | undefined } = {},
    { integers = this.integers }: DecodeOptions = {},
  ): Promise<Performed<T>> {
    return performing<T>(async () => this.ffi().performAgain(id, encodeJson(args, 'the arguments')), integers);
  }

  /**
   * Discards a pending or parked mutation permanently and reverts its writes. One that was sent without a verdict is discarded too; it is
   * withdrawn from the server when its verdict arrives.
   *
   * @throws InvalidInputError if there is no mutation with this id, or it was sent to a server of an older release, which cannot withdraw.
   */
  async discard(id: string): Promise<void> {
    await crossing(async () => this.ffi().discard(id));
  }

  /** Discards a mutation and all that depend on a row that it inserted; returns their ids. */
  async discardChain(id: string): Promise<string[]> {
    return crossing(async () => this.ffi().discardChain(id));
  }

  /**
   * The verdicts that the app has not acknowledged, oldest first, at most `most`. Each attempt of a mutation gets one entry, which is stored
   * when it arrives: no crash and no restart loses one.
   */
  async verdicts(most: number): Promise<Verdicts> {
    return raiseVerdicts(await crossing(async () => this.ffi().verdicts(lowerCount(most, 'most'))));
  }

  /** Acknowledges the verdicts up to this number: they are not reported again. */
  async acknowledgeVerdicts(through: number): Promise<void> {
    await crossing(async () => this.ffi().acknowledgeVerdicts(BigInt(lowerNumber(through))));
  }

  /**
   * The unacknowledged verdicts, then new ones as they arrive, each once in each loop.
   *
   * ```ts
   * for await (const { entries } of client.watchVerdicts()) {
   *   for (const verdict of entries) if (verdict.kind === 'parked') show(verdict);
   *   await client.acknowledgeVerdicts(entries.at(-1)?.number ?? 0);
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
    return this.observe((notify) => {
      const onVerdicts = (verdicts: ffi.Verdicts): void => notify(() => observer(raiseVerdicts(verdicts)), 'an observer of verdicts');
      return this.ffi().watchVerdicts({ onVerdicts });
    });
  }

  /** The accepted mutations that are still in the history, newest first, at most `most`. */
  async history(most: number, { integers = this.integers }: DecodeOptions = {}): Promise<AcceptedMutation[]> {
    const accepted = await crossing(async () => this.ffi().history(lowerCount(most, 'most')));
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
    return raiseUndone(await crossing(async () => this.ffi().undo(id)));
  }

  /** Redoes the undone mutation `id`. Throws InvalidInputError if it was not undone; otherwise as {@link undo}. */
  async redo(id: string): Promise<Undone> {
    return raiseUndone(await crossing(async () => this.ffi().redo(id)));
  }

  /** Deletes history beyond these bounds and returns the number of mutations, which can then no longer be undone. */
  async prune(bounds: HistoryBounds = {}): Promise<number> {
    return crossing(async () => this.ffi().prune(lowerBounds(bounds)));
  }

  /**
   * Resets the file: `keep` selects what is kept. The tables are always kept, and watches on them continue.
   *
   * Unsent mutations are user data, so they are discarded only by id: unless the queue is kept, `giveUp` lists every mutation of
   * `pending`, parked ones too. The reset is one transaction. If syncing is on, the next sync uses the token that the provider returns
   * then: switch the provider to the next user first.
   *
   * @throws UnsentError if an unsent mutation is not listed; InvalidInputError if one is listed and the queue is kept.
   */
  async reset(keep: Keep, giveUp: readonly string[] = [], { integers = this.integers }: DecodeOptions = {}): Promise<ResetReport> {
    return raiseReset(await crossing(async () => this.ffi().reset(lowerKeep(keep), [...giveUp])), integers);
  }
}

function lowerNumber(number: number): number {
  if (Number.isSafeInteger(number)) return number;
  throw new InvalidInputError(`${String(number)} is no number of a verdict`);
}
