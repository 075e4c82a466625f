/**
 * What the engine refuses about actions and mutations, with what an app needs to decide: the errors of `actions.ts` and `decisions.ts`.
 *
 * Promise: each is a {@link RejoinError} with its data in members; nothing was changed where one is thrown.
 * Border: what a mutation that was sent came to is no error but a verdict.
 */
import { RejoinError } from './errors';
import type { SqlValue } from './value';

/** Why an action was not performed; see {@link ActionError.fault}. */
export type ActionFault = 'unknown' | 'arguments' | 'refused' | 'same-row' | 'timed-out';

/** An action was not performed; nothing of it was kept. */
export class ActionError extends RejoinError {
  /** The action's name. */
  readonly action: string;
  /**
   * What kind of matter:
   *
   * - `'unknown'`: no action of this name is registered.
   * - `'arguments'`: the arguments are not those that it takes.
   * - `'refused'`: a rule of the app says no.
   * - `'same-row'`: it makes two rows that nothing tells apart, and that have one id therefore.
   * - `'timed-out'`: its code waits for something, and had not ended in time.
   */
  readonly fault: ActionFault;
  /** The app's own words for a refusal; what is wrong with the arguments; the table of two equal rows; else empty. */
  readonly words: string;

  constructor(message: string, about: { action: string; fault: ActionFault; words: string }) {
    super('Action', message);
    this.action = about.action;
    this.fault = about.fault;
    this.words = about.words;
  }
}

/** One run of an action took longer than it may; nothing of it was kept. Do less at a time, or allow more. */
export class ActionTooSlowError extends RejoinError {
  /** The action's name. */
  readonly action: string;
  /** What is allowed, in milliseconds: `runMs` of the budget. */
  readonly mostMs: number;

  constructor(message: string, about: { action: string; mostMs: number }) {
    super('ActionTooSlow', message);
    this.action = about.action;
    this.mostMs = about.mostMs;
  }
}

/** One run of an action wrote more than it may; nothing of it was kept. Do less at a time, or allow more. */
export class ActionTooLargeError extends RejoinError {
  /** The action's name. */
  readonly action: string;
  /** What is allowed: `bytes` of the budget. */
  readonly mostBytes: number;

  constructor(message: string, about: { action: string; mostBytes: number }) {
    super('ActionTooLarge', message);
    this.action = about.action;
    this.mostBytes = about.mostBytes;
  }
}

/** The mutation stands on a row that another one makes, which is parked. Retry that, with its chain. */
export class StandsOnError extends RejoinError {
  /** The parked mutation. */
  readonly id: string;

  constructor(message: string, id: string) {
    super('StandsOn', message);
    this.id = id;
  }
}

/** Mutations wait or are parked that were not named, and a reset gives nobody's work up unnamed. Nothing was changed. */
export class UnsentError extends RejoinError {
  /** How many. */
  readonly waiting: number;

  constructor(message: string, waiting: number) {
    super('Unsent', message);
    this.waiting = waiting;
  }
}

/** A row that is not as a mutation left it. */
export interface ChangedRow {
  readonly table: string;
  readonly key: SqlValue;
  /** The columns that have another value; empty if the row went, or is back. */
  readonly columns: readonly string[];
  /** What the mutation wrote, by column; undefined if it removed the row. */
  readonly wrote?: Readonly<Record<string, SqlValue>>;
  /** The row as it is seen now, by column; undefined if there is none. */
  readonly present?: Readonly<Record<string, SqlValue>>;
}

/** What was to be taken back does not stand any more: rows have changed since. Nothing was changed. */
export class ChangedError extends RejoinError {
  /** The rows, as they were left and as they are. An integer that a number would round is a bigint. */
  readonly rows: readonly ChangedRow[];

  constructor(message: string, rows: readonly ChangedRow[]) {
    super('Changed', message);
    this.rows = rows;
  }
}
