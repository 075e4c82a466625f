/**
 * The FFI boundary: converts values, errors and calls between the package and the generated bindings.
 *
 * Every error that the package throws is a {@link RejoinError} of `errors.ts`. Errors of the app reach the engine as text. Other modules
 * import the generated bindings only by `import type`, and the public API contains none of their types.
 */
import { FfiConverterObjectWithCallbacks } from '@ubjs/core';
import * as errors from './errors';
import * as ffi from './generated/rejoin_ffi';
import bindings from './generated';
import { ActionError, type ActionFault, ActionTooLargeError, ActionTooSlowError, ChangedError, type ChangedRow, StandsOnError, UnsentError } from './refusals';
import { bind, type IntegerMode, type SqlParam, type SqlValue, wellFormed } from './value';

// Referenced, or a bundler removes the import as unused, and with it the module that opens the library.
void bindings;

export { ffi };

/** The members used here of the runtime's converter for callback objects. */
interface Converter {
  lower(value: object, alloc: undefined): bigint;
  lowerHandle(value: object): bigint;
}

// The runtime (0.31.0-5) converts a callback object that is a required argument, but passes an optional one to `lowerHandle`, which
// accepts objects of the engine only.
const converter = FfiConverterObjectWithCallbacks.prototype as unknown as Converter;
const engineHandle = converter.lowerHandle;
converter.lowerHandle = function (this: Converter & { factory: { isConcreteType(value: object): boolean } }, value) {
  return this.factory.isConcreteType(value) ? engineHandle.call(this, value) : this.lower(value, undefined);
};

/** A statement with its parameters, for `execute`, `batch` and `queryAll`. */
export interface Statement {
  /** One statement. */
  readonly sql: string;
  /** A value for each `?`, in order. Default: none. */
  readonly params?: readonly SqlParam[] | undefined;
}

/** Awaits a call into the engine and converts its error, with the caller's stack. */
export async function crossing<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw translated(error);
  }
}

/** Makes a synchronous call into the engine and converts its error. */
export function directly<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw translated(error);
  }
}

/** The engine's error for each converted error, so that a handler that rethrows passes the original to the engine. */
const origins = new WeakMap<Error, ffi.RejoinError>();

/** Converts an error of the bindings to a class of `errors.ts`; such an error is returned unchanged. */
export function translated(error: unknown): Error {
  if (error instanceof errors.RejoinError) return error;
  if (!isRecord(error) || !ffi.RejoinError.instanceOf(error)) {
    return new errors.InternalError(`the call into the engine failed: ${words(error)}`, { cause: error });
  }
  const ours = ofOurs(error);
  origins.set(ours, error);
  return ours;
}

function ofOurs(error: ffi.RejoinError): errors.RejoinError {
  const { reason } = error.inner;
  switch (error.tag) {
    case ffi.RejoinError_Tags.InvalidInput:
      return new errors.InvalidInputError(reason);
    case ffi.RejoinError_Tags.Action: {
      const { action, fault, words } = error.inner;
      return new ActionError(reason, { action, fault: FAULT[fault], words });
    }
    case ffi.RejoinError_Tags.ActionTooSlow:
      return new ActionTooSlowError(reason, error.inner);
    case ffi.RejoinError_Tags.ActionTooLarge:
      return new ActionTooLargeError(reason, error.inner);
    case ffi.RejoinError_Tags.StandsOn:
      return new StandsOnError(reason, error.inner.id);
    case ffi.RejoinError_Tags.Unsent:
      return new UnsentError(reason, error.inner.waiting);
    case ffi.RejoinError_Tags.Changed:
      return new ChangedError(reason, error.inner.rows.map(raiseChangedRow));
    case ffi.RejoinError_Tags.Constraint:
      return new errors.ConstraintError(reason, error.inner);
    case ffi.RejoinError_Tags.Storage:
      return new errors.StorageError(reason);
    case ffi.RejoinError_Tags.WrongUser:
      return new errors.WrongUserError(reason);
    case ffi.RejoinError_Tags.Configuration:
      return new errors.ConfigurationError(reason);
    case ffi.RejoinError_Tags.Suspended:
      return new errors.SuspendedError(reason);
    case ffi.RejoinError_Tags.Ended:
      return new errors.EndedError(reason);
    case ffi.RejoinError_Tags.TransactionTimeout:
      return new errors.TransactionTimeoutError(reason);
    case ffi.RejoinError_Tags.Offline:
      return new errors.OfflineError(reason);
    case ffi.RejoinError_Tags.Unauthorized:
      return new errors.UnauthorizedError(reason);
    case ffi.RejoinError_Tags.UpgradeRequired:
      return new errors.UpgradeRequiredError(reason);
    case ffi.RejoinError_Tags.Server: {
      const { status, code, retryable } = error.inner;
      return new errors.ServerError(reason, { status, serverCode: code, retryable });
    }
    case ffi.RejoinError_Tags.Protocol:
      return new errors.ProtocolError(reason);
    case ffi.RejoinError_Tags.Callback:
      return new errors.CallbackError(reason);
    case ffi.RejoinError_Tags.Internal:
      return new errors.InternalError(reason);
  }
}

/** Converts an error of the app for the engine: an OfflineError stays `Offline`, any other becomes `Callback`. */
export function thrown(error: unknown): Error {
  const reason = words(error);
  if (error instanceof errors.OfflineError) return new ffi.RejoinError.Offline({ reason });
  return new ffi.RejoinError.Callback({ reason });
}

/** Converts an error of a handler for the engine: an error of the context and a refusal keep their kind. */
export function thrownByAction(error: unknown): Error {
  const origin = error instanceof Error ? origins.get(error) : undefined;
  if (origin !== undefined) return origin as unknown as Error;
  if (error instanceof ActionError && error.fault === 'refused') {
    const { message: reason, action, words } = error;
    return new ffi.RejoinError.Action({ reason, action, fault: ffi.ActionFault.Refused, words });
  }
  return new ffi.RejoinError.Callback({ reason: words(error) });
}

const FAULT: Record<ffi.ActionFault, ActionFault> = {
  [ffi.ActionFault.Unknown]: 'unknown',
  [ffi.ActionFault.Arguments]: 'arguments',
  [ffi.ActionFault.Refused]: 'refused',
  [ffi.ActionFault.SameRow]: 'same-row',
  [ffi.ActionFault.TimedOut]: 'timed-out',
};

function raiseChangedRow({ table, key, columns, wrote, present }: ffi.ChangedRow): ChangedRow {
  return {
    table,
    key: raise(key),
    columns,
    ...(wrote === undefined ? {} : { wrote: raiseColumns(wrote) }),
    ...(present === undefined ? {} : { present: raiseColumns(present) }),
  };
}

function raiseColumns(columns: readonly ffi.ColumnValue[]): Record<string, SqlValue> {
  return Object.fromEntries(columns.map(({ name, value }) => [name, raise(value)]));
}

/** The message of any thrown value; never throws. */
export function words(error: unknown): string {
  try {
    if (error instanceof Error) return error.message === '' ? error.name : error.message;
    return String(error);
  } catch {
    return 'something that cannot be shown as text';
  }
}

function isRecord(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Checks the SQL of a statement. */
export function statementText(sql: string): string {
  if (typeof sql !== 'string') throw new errors.InvalidInputError(`a statement is a string, not a ${typeof sql}`);
  return wellFormed(sql, 'the statement');
}

/** Converts parameters for the engine. */
export function lowerAll(params: readonly SqlParam[]): ffi.SqlValue[] {
  return params.map((value, at) => lower(value, `parameter ${at + 1}`));
}

/** Converts statements for the engine. */
export function lowerStatements(statements: readonly Statement[]): ffi.Statement[] {
  return statements.map(({ sql, params }) => ({ sql: statementText(sql), params: lowerAll(params ?? []) }));
}

/** An object of the engine that runs statements. */
interface Executor {
  execute(sql: string, params: ffi.SqlValue[]): Promise<bigint>;
}

/** Runs a statement, given as SQL with parameters or as an object, and returns the number of rows that it changed. */
export async function execute(engine: Executor, given: string | Statement, params?: readonly SqlParam[]): Promise<number> {
  const isObject = typeof given === 'object' && given !== null;
  if (isObject && params !== undefined) throw new errors.InvalidInputError('a Statement contains its parameters; omit the second argument');
  const statement = isObject ? given : { sql: given, params };
  return Number(await engine.execute(statementText(statement.sql), lowerAll(statement.params ?? [])));
}

/** Converts one value for the engine; `what` names it in the error. */
export function lower(value: SqlParam, what: string): ffi.SqlValue {
  const bound = bind(value, what);
  switch (bound.tag) {
    case 'null':
      return new ffi.SqlValue.Null();
    case 'integer':
      return new ffi.SqlValue.Integer({ value: bound.value });
    case 'real':
      return new ffi.SqlValue.Real({ value: bound.value });
    case 'text':
      return new ffi.SqlValue.Text({ value: bound.value });
    case 'blob':
      return new ffi.SqlValue.Blob({ value: exactly(bound.value) });
  }
}

/** Converts one value from the engine. */
export function raise(value: ffi.SqlValue, integers: IntegerMode = 'auto'): SqlValue {
  switch (value.tag) {
    case ffi.SqlValue_Tags.Null:
      return null;
    case ffi.SqlValue_Tags.Integer:
      return integer(value.inner.value, integers);
    case ffi.SqlValue_Tags.Blob:
      return new Uint8Array(value.inner.value);
    default:
      return value.inner.value;
  }
}

function integer(exact: bigint, integers: IntegerMode): number | bigint {
  const number = Number(exact);
  if (integers === 'bigint') return exact;
  if (Number.isSafeInteger(number)) return number;
  if (integers === 'auto') return exact;
  throw new errors.InvalidInputError(`${exact} is an integer that a number would round; read integers as 'auto' or 'bigint'`);
}

/** An ArrayBuffer with exactly these bytes, as the bindings require. */
export function exactly(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) return buffer;
  return bytes.slice().buffer as ArrayBuffer;
}
