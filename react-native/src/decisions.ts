/**
 * What an app decides of its mutations: offering again, mending, giving up, taking back, and beginning anew.
 *
 * Promise: nothing of this needs a network; all of it is in the file when the promise is fulfilled, and nothing is changed where it is
 * rejected.
 * Border: what each decision means is the engine's (`docs/verdicts.md`, `docs/identity.md`).
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

/** The part of a client that decides of mutations. */
export abstract class Decisions extends Database {
  /**
   * Offers a parked mutation again, as it was written: it goes to the end of the queue, its rows show it at once, and what it compares is
   * what stands there now. So a conflict that the user has looked at ends by his word. An action runs again.
   *
   * @throws StandsOnError while the mutation that makes its row is parked, which it names; InvalidInputError if there is none of this
   *   name, or it is not parked.
   */
  async retry(id: string): Promise<void> {
    await crossing(async () => this.ffi().retry(id));
  }

  /** {@link retry} of a mutation, if it is parked, and of all that was parked because of it, in their order; tells which they are. */
  async retryChain(id: string): Promise<string[]> {
    return crossing(async () => this.ffi().retryChain(id));
  }

  /**
   * Mends a parked or waiting mutation: what it wrote is laid upon the rows as they stand now, the body (or the statements, in one
   * call) changes that, and what comes out is a new mutation of plain SQL at the end of the queue, in the place of the old one. An action
   * is better mended by {@link performAgain}.
   *
   * ```ts
   * const mended = await client.edit(parked.id, (tx) => tx.execute('UPDATE task SET title = ? WHERE id = ?', [title, id]));
   * if (mended !== undefined) await client.retryChain(mended); // What was parked because of the old one.
   * ```
   *
   * Tells the id of the new one, or undefined if nothing is left. The body and the signal are as in {@link transaction}.
   *
   * @throws whatever the body throws; what `transaction` and `batch` throw; InvalidInputError if there is no mutation of this name.
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
   * Mends an action that is parked or waits: what it wrote leaves the rows, and the newest version of it is performed with these arguments
   * on what is there then. What comes out is a new mutation at the end of the queue, in the place of the old one; all of it or nothing,
   * also across a crash. Where nothing is written this time, there is no new one.
   *
   * ```ts
   * const { id } = await client.performAgain(parked.id, { id: 'nails', n: 1 });
   * if (id !== undefined) await client.retryChain(id); // What was parked because of the old one.
   * ```
   *
   * Works offline. The arguments are all that the action takes, as for {@link perform}; so are the type parameter and the end.
   *
   * @throws what {@link perform} throws; InvalidInputError if there is no mutation of this name, if it is no action, or if it was sent to a
   *   server that cannot withdraw. Nothing was changed then.
   */
  async performAgain<T = Json>(
    id: string,
    args: { readonly [name: string]: JsonParam | undefined } = {},
    { integers = this.integers }: DecodeOptions = {},
  ): Promise<Performed<T>> {
    return performing<T>(async () => this.ffi().performAgain(id, encodeJson(args, 'the arguments')), integers);
  }

  /**
   * Gives a waiting or parked mutation up for good: what it wrote leaves the rows. One that was sent and has no verdict goes too, and is
   * taken back from the server when its word on it is known.
   *
   * @throws InvalidInputError if there is none of this name, or it was sent to a server of an older release, which cannot withdraw.
   */
  async discard(id: string): Promise<void> {
    await crossing(async () => this.ffi().discard(id));
  }

  /** {@link discard} of a mutation and of all that stands on a row that it made, parked before or only by this; tells which they are. */
  async discardChain(id: string): Promise<string[]> {
    return crossing(async () => this.ffi().discardChain(id));
  }

  /**
   * How mutations ended that the app has not acknowledged, oldest first, at most `most`. Each end of each attempt is one entry, in the
   * file since the moment when it came: no crash and no restart loses one.
   */
  async verdicts(most: number): Promise<Verdicts> {
    return raiseVerdicts(await crossing(async () => this.ffi().verdicts(lowerCount(most, 'most'))));
  }

  /** Says that the app has dealt with the verdicts up to this number: they are not told again. */
  async acknowledgeVerdicts(through: number): Promise<void> {
    await crossing(async () => this.ffi().acknowledgeVerdicts(BigInt(lowerNumber(through))));
  }

  /**
   * The verdicts that are not acknowledged, and then new ones as they come, each once to each loop.
   *
   * ```ts
   * for await (const { entries } of client.watchVerdicts()) {
   *   for (const verdict of entries) if (verdict.kind === 'parked') show(verdict);
   *   await client.acknowledgeVerdicts(entries.at(-1)?.number ?? 0);
   * }
   * ```
   *
   * What was not acknowledged is told again to the next loop, and after the next start: at least once. Leaving the loop, the signal,
   * and the end of the client end it.
   */
  watchVerdicts({ signal }: AbortOptions = {}): AsyncIterable<Verdicts> {
    return verdictsOf((observer) => this.onVerdicts(observer), signal);
  }

  /** Calls `observer` with what {@link watchVerdicts} gives, until it is cancelled. What it throws is shown on the console. */
  onVerdicts(observer: (verdicts: Verdicts) => unknown): Subscription {
    return this.observe((told) => {
      const onVerdicts = (verdicts: ffi.Verdicts): void => told(() => observer(raiseVerdicts(verdicts)), 'an observer of verdicts');
      return this.ffi().watchVerdicts({ onVerdicts });
    });
  }

  /** What the server has accepted and the file still remembers, the newest first, at most `most`. */
  async history(most: number, { integers = this.integers }: DecodeOptions = {}): Promise<AcceptedMutation[]> {
    const accepted = await crossing(async () => this.ffi().history(lowerCount(most, 'most')));
    return accepted.map((one) => raiseAccepted(one, integers));
  }

  /**
   * Takes a mutation back. One without a verdict is given up, as by {@link discard}; of an accepted one each column goes back to what it
   * displaced on the server, by a new mutation, which is only ever compared. All of it, or nothing.
   *
   * @throws ChangedError with the rows if any of it does not stand any more; InvalidInputError if the file has forgotten it, and for a
   *   parked one, of which nothing is in the rows.
   */
  async undo(id: string): Promise<Undone> {
    return raiseUndone(await crossing(async () => this.ffi().undo(id)));
  }

  /** Takes the undo of a mutation back; `id` is the one that was undone. Throws InvalidInputError if it was not; else as {@link undo}. */
  async redo(id: string): Promise<Undone> {
    return raiseUndone(await crossing(async () => this.ffi().redo(id)));
  }

  /** Forgets what was accepted beyond these bounds, at once; tells how many mutations. They cannot be undone any more. */
  async prune(bounds: HistoryBounds = {}): Promise<number> {
    return crossing(async () => this.ffi().prune(lowerBounds(bounds)));
  }

  /**
   * Begins anew in the same file: `keep` says what stays; the tables do in any case, and watches go on over them.
   *
   * What waits for the server is the user's work, and goes only by name: `giveUp` lists every mutation of `pending`, parked ones too,
   * unless the queue stays. One transaction, also before a crash. If syncing is on, the next pass begins with what the token
   * provider then gives: tell it of the next user before.
   *
   * @throws UnsentError if something waits that is not named; InvalidInputError if something is named and the queue stays.
   */
  async reset(keep: Keep, giveUp: readonly string[] = [], { integers = this.integers }: DecodeOptions = {}): Promise<ResetReport> {
    return raiseReset(await crossing(async () => this.ffi().reset(lowerKeep(keep), [...giveUp])), integers);
  }
}

function lowerNumber(number: number): number {
  if (Number.isSafeInteger(number)) return number;
  throw new InvalidInputError(`${String(number)} is no number of a verdict`);
}
