/**
 * The errors of actions and of decisions about mutations, with the data that an app needs to react.
 *
 * When one of them is thrown, nothing was changed. The outcome of a sent mutation is a verdict, not an error.
 */
import { RejoinError } from './errors';
import type { SqlValue } from './value';

/** Why an action was not performed; see {@link ActionError.fault}. */
export type ActionFault = 'unknown' | 'arguments' | 'refused' | 'same-row' | 'timed-out';

/** An action was not performed; it was rolled back. */
export class ActionError extends RejoinError {
  /** The action's name. */
  readonly action: string;
  /**
   * The cause:
   *
   * - `'unknown'`: no action of this name is registered.
   * - `'arguments'`: the arguments do not match its parameters.
   * - `'refused'`: a precondition or the handler refused it.
   * - `'same-row'`: it inserts two rows with the same identity, which would have the same id.
   * - `'timed-out'`: its handler did not end in time.
   */
  readonly fault: ActionFault;
  /** The app's message for `'refused'`; the problem for `'arguments'`; the table for `'same-row'`; otherwise empty. */
  readonly detail: string;

  constructor(message: string, about: { action: string; fault: ActionFault; detail: string }) {
    super('Action', message);
    this.action = about.action;
    this.fault = about.fault;
    this.detail = about.detail;
  }
}

/** A run of an action exceeded the time limit and was rolled back. Do less per action, or raise the limit. */
export class ActionTooSlowError extends RejoinError {
  /** The action's name. */
  readonly action: string;
  /** The limit in milliseconds: `runMs` of the budget. */
  readonly limitMs: number;

  constructor(message: string, about: { action: string; limitMs: number }) {
    super('ActionTooSlow', message);
    this.action = about.action;
    this.limitMs = about.limitMs;
  }
}

/** A run of an action exceeded the size limit and was rolled back. Do less per action, or raise the limit. */
export class ActionTooLargeError extends RejoinError {
  /** The action's name. */
  readonly action: string;
  /** The limit in bytes: `bytes` of the budget. */
  readonly limitBytes: number;

  constructor(message: string, about: { action: string; limitBytes: number }) {
    super('ActionTooLarge', message);
    this.action = about.action;
    this.limitBytes = about.limitBytes;
  }
}

/** The mutation depends on a row that a parked mutation inserts. Retry that one with its chain. */
export class ParentParkedError extends RejoinError {
  /** The parked mutation. */
  readonly id: string;

  constructor(message: string, id: string) {
    super('ParentParked', message);
    this.id = id;
  }
}

/** A reset would discard unsent mutations whose ids it did not get. Nothing was changed. */
export class UnsentError extends RejoinError {
  /** The number of these mutations. */
  readonly waiting: number;

  constructor(message: string, waiting: number) {
    super('Unsent', message);
    this.waiting = waiting;
  }
}

/** A row that has changed since a mutation wrote it. */
export interface ChangedRow {
  readonly table: string;
  readonly key: SqlValue;
  /** The columns that have changed; empty if the row was deleted or inserted again. */
  readonly columns: readonly string[];
  /** The values that the mutation wrote, by column; undefined if it deleted the row. */
  readonly wrote?: Readonly<Record<string, SqlValue>>;
  /** The current values, by column; undefined if the row does not exist. */
  readonly present?: Readonly<Record<string, SqlValue>>;
}

/** The mutation cannot be undone: its rows have changed since. Nothing was changed. */
export class ChangedError extends RejoinError {
  /** The changed rows, with written and current values. An integer that a number would round is a bigint. */
  readonly rows: readonly ChangedRow[];

  constructor(message: string, rows: readonly ChangedRow[]) {
    super('Changed', message);
    this.rows = rows;
  }
}
