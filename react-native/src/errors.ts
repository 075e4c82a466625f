/**
 * What can go wrong, as classes of real errors: one per decision that a caller can take.
 *
 * Promise: whatever the package throws is a {@link RejoinError}; its `code` is stable, its `message` is for people and may change.
 * Border: a write that the server refuses is no error but a verdict. Nothing of the generated bindings gets out of here. Those about
 * actions and mutations stand in `refusals.ts`.
 */

/** The stable names of the kinds of error. */
export type RejoinErrorCode =
  | 'InvalidInput'
  | 'Constraint'
  | 'Action'
  | 'ActionTooSlow'
  | 'ActionTooLarge'
  | 'StandsOn'
  | 'Unsent'
  | 'Changed'
  | 'Storage'
  | 'WrongUser'
  | 'Configuration'
  | 'Suspended'
  | 'Ended'
  | 'TransactionTimeout'
  | 'Offline'
  | 'Unauthorized'
  | 'UpgradeRequired'
  | 'Server'
  | 'Protocol'
  | 'Callback'
  | 'Internal';

/**
 * Anything that Rejoin throws.
 *
 * ```ts
 * try {
 *   await client.execute('INSERT INTO task (id, title) VALUES (?, ?)', [id, title]);
 * } catch (error) {
 *   if (error instanceof ConstraintError) show(`${error.column} is taken`);
 *   else throw error;
 * }
 * ```
 */
export class RejoinError extends Error {
  /** The kind, stable over releases: for logs, and where `instanceof` does not reach (another realm, another copy). */
  readonly code: RejoinErrorCode;

  constructor(code: RejoinErrorCode, message: string, options?: { cause?: unknown }) {
    super(message);
    this.code = code;
    this.name = `${code}Error`;
    if (options !== undefined && 'cause' in options) {
      Object.defineProperty(this, 'cause', { value: options.cause, writable: true, configurable: true });
    }
  }
}

/** The call is wrong: SQL that does not compile, a value that does not fit, something that is refused here. Nothing was changed. */
export class InvalidInputError extends RejoinError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('InvalidInput', message, options);
  }
}

/** The write breaks a rule of a table (UNIQUE, NOT NULL, a foreign key, a CHECK). It was undone. */
export class ConstraintError extends RejoinError {
  /** The table whose rule it is; empty if SQLite does not say. */
  readonly table: string;
  /** The column, or the columns with commas between; empty if the rule is not of a column. */
  readonly column: string;
  /** The rule, such as `UNIQUE` or the name of a check. */
  readonly rule: string;

  constructor(message: string, at: { table: string; column: string; rule: string }) {
    super('Constraint', message);
    this.table = at.table;
    this.column = at.column;
    this.rule = at.rule;
  }
}

/** The local database failed (full disk, damaged file, another process holds it). The transaction was rolled back. */
export class StorageError extends RejoinError {
  constructor(message: string) {
    super('Storage', message);
  }
}

/** The file belongs to another user and holds writes that were not sent; nothing was touched. */
export class WrongUserError extends RejoinError {
  constructor(message: string) {
    super('WrongUser', message);
  }
}

/**
 * The configuration makes no sense, or contradicts the schema. Every problem that was looked for is named: those of values that the
 * engine cannot be told come first, and alone; the engine's own next. Nothing was opened.
 */
export class ConfigurationError extends RejoinError {
  constructor(message: string) {
    super('Configuration', message);
  }
}

/** The client is suspended, and the call was ended for that; after `resume` it can be made again. */
export class SuspendedError extends RejoinError {
  constructor(message: string) {
    super('Suspended', message);
  }
}

/**
 * The client has ended, before the call or while it was under way; what was committed stays. A transaction or a snapshot that is used
 * after its own end is an {@link InvalidInputError}: that call is wrong whatever the client does.
 */
export class EndedError extends RejoinError {
  constructor(message: string) {
    super('Ended', message);
  }
}

/** The transaction stood idle for too long and was rolled back, so that other writers could go on. */
export class TransactionTimeoutError extends RejoinError {
  constructor(message: string) {
    super('TransactionTimeout', message);
  }
}

/** No answer came from the server. Nothing is lost: writes are queued and will be sent again. */
export class OfflineError extends RejoinError {
  constructor(message: string) {
    super('Offline', message);
  }
}

/** The session has ended: sign in again, then call `credentialsChanged`. Queued writes wait until then. */
export class UnauthorizedError extends RejoinError {
  constructor(message: string) {
    super('Unauthorized', message);
  }
}

/** The server no longer speaks with this release; local work goes on, and the queue waits for an update. */
export class UpgradeRequiredError extends RejoinError {
  constructor(message: string) {
    super('UpgradeRequired', message);
  }
}

/** The server answered with an error. */
export class ServerError extends RejoinError {
  /** The HTTP status. */
  readonly status: number;
  /** The server's own code, such as `rate_limited`; empty if it gave none. */
  readonly serverCode: string;
  /** Whether the same request may succeed later; the client then tries again by itself. */
  readonly retryable: boolean;

  constructor(message: string, answer: { status: number; serverCode: string; retryable: boolean }) {
    super('Server', message);
    this.status = answer.status;
    this.serverCode = answer.serverCode;
    this.retryable = answer.retryable;
  }
}

/** The server's answer makes no sense. Nothing was applied. */
export class ProtocolError extends RejoinError {
  constructor(message: string) {
    super('Protocol', message);
  }
}

/**
 * Something of the app's that the engine called (a token provider, a transport, the code of an action) threw. Of an action that was
 * performed here the `cause` is what its code threw.
 */
export class CallbackError extends RejoinError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('Callback', message, options);
  }
}

/** A bug of Rejoin, or a row buffer that is damaged. Please report it. */
export class InternalError extends RejoinError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('Internal', message, options);
  }
}
