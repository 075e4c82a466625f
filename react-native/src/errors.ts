/**
 * The error classes: one for each decision that a caller can take.
 *
 * The package throws only {@link RejoinError}s; the `code` is stable, the `message` is for people and may change. A write that the server
 * rejects is a verdict, not an error. The errors of actions and mutations are in `refusals.ts`.
 */

/** The stable error codes. */
export type RejoinErrorCode =
  | 'InvalidInput'
  | 'Constraint'
  | 'Action'
  | 'ActionTooSlow'
  | 'ActionTooLarge'
  | 'ParentParked'
  | 'Unsent'
  | 'Changed'
  | 'Storage'
  | 'WrongUser'
  | 'Configuration'
  | 'Suspended'
  | 'Closed'
  | 'TransactionTimeout'
  | 'Offline'
  | 'Unauthorized'
  | 'UpgradeRequired'
  | 'Server'
  | 'SubscriptionRefused'
  | 'Protocol'
  | 'Callback'
  | 'Internal';

/**
 * The base class of all errors of Rejoin.
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
  /** Stable over releases: for logs, and where `instanceof` does not work (another realm, another copy of the package). */
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

/** The call is invalid: SQL that does not compile, an unsupported value, an unsupported operation. Nothing was changed. */
export class InvalidInputError extends RejoinError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('InvalidInput', message, options);
  }
}

/** The write violates a constraint (UNIQUE, NOT NULL, a foreign key, a CHECK). It was undone. */
export class ConstraintError extends RejoinError {
  /** The table of the constraint; empty if SQLite does not report it. */
  readonly table: string;
  /** The column, or the columns separated by commas; empty if the constraint has none. */
  readonly column: string;
  /** The constraint, such as `UNIQUE` or the name of a check. */
  readonly rule: string;

  constructor(message: string, at: { table: string; column: string; rule: string }) {
    super('Constraint', message);
    this.table = at.table;
    this.column = at.column;
    this.rule = at.rule;
  }
}

/** The local database failed (full disk, damaged file, locked by another process). The transaction was rolled back. */
export class StorageError extends RejoinError {
  constructor(message: string) {
    super('Storage', message);
  }
}

/** The file belongs to another user and contains unsent writes. Nothing was changed. */
export class WrongUserError extends RejoinError {
  constructor(message: string) {
    super('WrongUser', message);
  }
}

/**
 * The configuration is invalid or contradicts the schema. The message lists every problem of one step: first the values of wrong type,
 * then those that the engine rejects. Nothing was opened.
 */
export class ConfigurationError extends RejoinError {
  constructor(message: string) {
    super('Configuration', message);
  }
}

/** The client is suspended, which ended the call. Repeat it after `resume`. */
export class SuspendedError extends RejoinError {
  constructor(message: string) {
    super('Suspended', message);
  }
}

/**
 * The client was shut down before or during the call; what was committed stays. Using a transaction or a snapshot after its own end is an
 * {@link InvalidInputError} instead.
 */
export class ClosedError extends RejoinError {
  constructor(message: string) {
    super('Closed', message);
  }
}

/** The transaction was idle for too long and was rolled back, so that other writers can continue. */
export class TransactionTimeoutError extends RejoinError {
  constructor(message: string) {
    super('TransactionTimeout', message);
  }
}

/** The server did not respond. Nothing is lost: writes are queued and sent again. */
export class OfflineError extends RejoinError {
  constructor(message: string) {
    super('Offline', message);
  }
}

/** The session has expired: sign in again, then call `credentialsChanged`. Writes stay queued until then. */
export class UnauthorizedError extends RejoinError {
  constructor(message: string) {
    super('Unauthorized', message);
  }
}

/** The server does not support this release. Local reads and writes continue, and the queue is kept until the app is updated. */
export class UpgradeRequiredError extends RejoinError {
  constructor(message: string) {
    super('UpgradeRequired', message);
  }
}

/** The server returned an error. */
export class ServerError extends RejoinError {
  /** The HTTP status. */
  readonly status: number;
  /** The server's error code, such as `rate_limited`; empty if the response has none. */
  readonly serverCode: string;
  /** Whether the same request may succeed later; the client then retries it automatically. */
  readonly retryable: boolean;

  constructor(message: string, answer: { status: number; serverCode: string; retryable: boolean }) {
    super('Server', message);
    this.status = answer.status;
    this.serverCode = answer.serverCode;
    this.retryable = answer.retryable;
  }
}

/**
 * Why the server refuses a subscription: it has no stream of this name; a parameter is missing, unknown, or no value of its type; the user
 * may not read these rows; its query for the right failed or returned several rows; a reason of a later release.
 */
export type RefusalCode = 'unknown-stream' | 'invalid-parameter' | 'forbidden' | 'query-failed' | 'unknown';

/** The server refuses a subscription to a stream. The subscription stays, and brings rows if the server accepts it later. */
export class SubscriptionRefusedError extends RejoinError {
  /** The stream's name. */
  readonly stream: string;
  /** Why, for programs. */
  readonly refusal: RefusalCode;
  /** The server's message. */
  readonly detail: string;

  constructor(message: string, about: { stream: string; refusal: RefusalCode; detail: string }) {
    super('SubscriptionRefused', message);
    this.stream = about.stream;
    this.refusal = about.refusal;
    this.detail = about.detail;
  }
}

/** The server's response is invalid. Nothing was applied. */
export class ProtocolError extends RejoinError {
  constructor(message: string) {
    super('Protocol', message);
  }
}

/**
 * Code of the app that the engine called threw: a token provider, a transport or a handler of an action. In `perform` the `cause` is the
 * handler's error.
 */
export class CallbackError extends RejoinError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('Callback', message, options);
  }
}

/** A bug in Rejoin, or a damaged row buffer. Please report it. */
export class InternalError extends RejoinError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('Internal', message, options);
  }
}
