/**
 * A model of the engine's writer that predicts the outcome of each call in an order of sequential steps.
 *
 * It follows the documentation. A client is open, suspended or shut down. One caller writes at a time, in order of the calls. Suspend and
 * shutdown roll back the open transaction, whose body gets the error at its next call; `perform` gets it at once. Suspend refuses waiting
 * writes; shutdown completes them first.
 */
import type { Step } from './interleave';

/** How the body of a transaction ends. */
export type Ending = 'commits' | 'throws';
/** What runs the body: a transaction or a handler of an action. */
export type Frame = 'transaction' | 'action';
/** The outcome of a call: done, the error of the body itself, or the code of an error. */
export type Outcome = 'done' | 'own' | 'Suspended' | 'Closed';

/** The state of a transaction. */
interface Transaction {
  /** Number of open gates of its body. */
  open: number;
  /** The gate at which its body waits; undefined before the body starts. */
  at?: number;
  /** The error by which the engine has ended it and that its body has not received yet. */
  error?: Outcome;
}

/** The predicted state after each step. */
export class Model {
  /** The outcome of each settled call. */
  readonly outcomes = new Map<string, Outcome>();
  /** The owners of committed rows. */
  readonly committed = new Set<string>();
  readonly #transactions = new Map<string, Transaction>();
  /** The callers that wait for the writer. */
  #queue: string[] = [];
  #holder: string | undefined;
  #closed: Outcome | undefined;

  constructor(
    readonly ending: Ending,
    readonly order: readonly Step[],
    readonly frame: Frame = 'transaction',
  ) {}

  /** The gate at which the body of a transaction waits; undefined before it starts and after its end. */
  gateOf(actor: string): number | undefined {
    return this.outcomes.has(`transaction ${actor}`) ? undefined : this.#transactions.get(actor)?.at;
  }

  /** Takes a step. */
  take({ actor, name }: Step): void {
    switch (name) {
      case 'begin':
        this.#transactions.set(actor, { open: this.#has(actor, 'first') ? 0 : this.#has(actor, 'second') ? 1 : 2 });
        return this.#requestWriter(actor);
      case 'write':
        return this.#requestWriter('write');
      case 'first':
      case 'second':
      case 'end':
        return this.#openGates(actor, name === 'first' ? 1 : name === 'second' ? 2 : 3);
      case 'query':
        return void this.outcomes.set('query', this.#closed ?? 'done');
      case 'resume':
        this.#closed = undefined;
        break;
      default:
        this.#close(name === 'suspend' ? 'Suspended' : 'Closed');
    }
    this.outcomes.set(name, 'done');
  }

  #has(actor: string, name: string): boolean {
    return this.order.some((step) => step.actor === actor && step.name === name);
  }

  #requestWriter(caller: string): void {
    if (this.#closed !== undefined) return void this.outcomes.set(this.#name(caller), this.#closed);
    this.#queue.push(caller);
    this.#serve();
  }

  #serve(): void {
    while (this.#holder === undefined) {
      const caller = this.#queue.shift();
      if (caller === undefined) return;
      const transaction = this.#transactions.get(caller);
      if (transaction === undefined) {
        this.committed.add(caller);
        this.outcomes.set(caller, 'done');
      } else {
        this.#holder = caller;
        transaction.at = 0;
        this.#advance(caller, transaction);
      }
    }
  }

  #openGates(actor: string, gates: number): void {
    const transaction = this.#transactions.get(actor);
    if (transaction === undefined) return;
    transaction.open = gates;
    if (this.gateOf(actor) !== undefined) this.#advance(actor, transaction);
    this.#serve();
  }

  /** The body passes the open gates: a statement follows each of the first two, the end follows the third. */
  #advance(actor: string, transaction: Transaction): void {
    const { open, error } = transaction;
    if (transaction.at === open) return;
    if (error !== undefined && ((transaction.at as number) < 2 || this.ending === 'commits')) return this.#finish(actor, error);
    transaction.at = open;
    if (open < 3) return;
    if (this.ending === 'commits') this.committed.add(actor);
    this.#finish(actor, this.ending === 'commits' ? 'done' : 'own');
  }

  #finish(actor: string, outcome: Outcome): void {
    this.outcomes.set(`transaction ${actor}`, outcome);
    if (this.#holder === actor) this.#holder = undefined;
  }

  #close(error: Outcome): void {
    this.#closed = error;
    const holder = this.#holder === undefined ? undefined : this.#transactions.get(this.#holder);
    if (holder !== undefined) holder.error = error;
    // `perform` does not wait for its handler.
    if (this.frame === 'action' && this.#holder !== undefined) this.#finish(this.#holder, error);
    this.#holder = undefined;
    for (const caller of this.#queue.splice(0)) {
      // Shutdown completes waiting single writes; suspend refuses them.
      const done = error === 'Closed' && !this.#transactions.has(caller);
      if (done) this.committed.add(caller);
      this.outcomes.set(this.#name(caller), done ? 'done' : error);
    }
  }

  #name(caller: string): string {
    return this.#transactions.has(caller) ? `transaction ${caller}` : caller;
  }
}
