/**
 * What must come of an order of steps in which each is waited for: exactly, by a model of the engine's one writer and its life.
 *
 * The model knows what the documentation says: a client is open, suspended or ended; one writes at a time, in the order of asking; what is
 * suspended or ended loses its transaction, whose body hears of it when it next asks; who performs an action hears of it at once. Writes that wait are refused by a suspension, and
 * done before the end.
 */
import type { Step } from './interleave';

/** How the body of a transaction ends. */
export type Ending = 'commits' | 'throws';
/** What runs the body: a transaction, or an action's code. */
export type Frame = 'transaction' | 'action';
/** What a caller is told: done, the error of the body itself, or the code of an error. */
export type Told = 'done' | 'own' | 'Suspended' | 'Ended';

/** A transaction, as far as the steps have let it come. */
interface Transaction {
  /** How many of the gates of its body are open. */
  open: number;
  /** At which gate its body stands; undefined while it has not begun. */
  at?: number;
  /** By what the engine has ended it, which its body does not know yet. */
  lost?: Told;
}

/** The order's world after each step. */
export class Model {
  /** What each caller that has its answer was told. */
  readonly told = new Map<string, Told>();
  /** Whose rows are committed. */
  readonly committed = new Set<string>();
  readonly #transactions = new Map<string, Transaction>();
  /** Who waits for the writer. */
  #queue: string[] = [];
  #holder: string | undefined;
  #dead: Told | undefined;

  constructor(
    readonly ending: Ending,
    readonly order: readonly Step[],
    readonly frame: Frame = 'transaction',
  ) {}

  /** At which gate the body of a transaction stands; undefined if it has not begun, or is done with. */
  standsAt(actor: string): number | undefined {
    return this.told.has(`transaction ${actor}`) ? undefined : this.#transactions.get(actor)?.at;
  }

  /** Takes a step. */
  take({ actor, name }: Step): void {
    switch (name) {
      case 'begin':
        this.#transactions.set(actor, { open: this.#has(actor, 'first') ? 0 : this.#has(actor, 'second') ? 1 : 2 });
        return this.#ask(actor);
      case 'write':
        return this.#ask('write');
      case 'first':
      case 'second':
      case 'end':
        return this.#opens(actor, name === 'first' ? 1 : name === 'second' ? 2 : 3);
      case 'query':
        return void this.told.set('query', this.#dead ?? 'done');
      case 'resume':
        this.#dead = undefined;
        break;
      default:
        this.#dies(name === 'suspend' ? 'Suspended' : 'Ended');
    }
    this.told.set(name, 'done');
  }

  #has(actor: string, name: string): boolean {
    return this.order.some((step) => step.actor === actor && step.name === name);
  }

  #ask(who: string): void {
    if (this.#dead !== undefined) return void this.told.set(this.#name(who), this.#dead);
    this.#queue.push(who);
    this.#serve();
  }

  #serve(): void {
    while (this.#holder === undefined) {
      const who = this.#queue.shift();
      if (who === undefined) return;
      const transaction = this.#transactions.get(who);
      if (transaction === undefined) {
        this.committed.add(who);
        this.told.set(who, 'done');
      } else {
        this.#holder = who;
        transaction.at = 0;
        this.#goesOn(who, transaction);
      }
    }
  }

  #opens(actor: string, gates: number): void {
    const transaction = this.#transactions.get(actor);
    if (transaction === undefined) return;
    transaction.open = gates;
    if (this.standsAt(actor) !== undefined) this.#goesOn(actor, transaction);
    this.#serve();
  }

  /** The body passes the gates that are open: a statement after each of the first two, the end after the third. */
  #goesOn(actor: string, transaction: Transaction): void {
    const { open, lost } = transaction;
    if (transaction.at === open) return;
    if (lost !== undefined && ((transaction.at as number) < 2 || this.ending === 'commits')) return this.#ends(actor, lost);
    transaction.at = open;
    if (open < 3) return;
    if (this.ending === 'commits') this.committed.add(actor);
    this.#ends(actor, this.ending === 'commits' ? 'done' : 'own');
  }

  #ends(actor: string, told: Told): void {
    this.told.set(`transaction ${actor}`, told);
    if (this.#holder === actor) this.#holder = undefined;
  }

  #dies(how: Told): void {
    this.#dead = how;
    const holder = this.#holder === undefined ? undefined : this.#transactions.get(this.#holder);
    if (holder !== undefined) holder.lost = how;
    // The code of an action is not waited for, however it would end.
    if (this.frame === 'action' && this.#holder !== undefined) this.#ends(this.#holder, how);
    this.#holder = undefined;
    for (const who of this.#queue.splice(0)) {
      // The end waits for what was handed in before it, where that needs nobody's body; a suspension refuses it.
      const done = how === 'Ended' && !this.#transactions.has(who);
      if (done) this.committed.add(who);
      this.told.set(this.#name(who), done ? 'done' : how);
    }
  }

  #name(who: string): string {
    return this.#transactions.has(who) ? `transaction ${who}` : who;
  }
}
