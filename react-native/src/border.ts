/**
 * The FFI boundary: calls into the generated bindings, and the conversion of errors in both directions.
 *
 * Every error that the package throws is a {@link RejoinError} of `errors.ts`. Errors of the app reach the engine as text. The public API
 * contains no type of the bindings. Values and statements are converted in `statement.ts`.
 */
import { FfiConverterObjectWithCallbacks, UniffiHandleMap } from '@ubjs/core';
import * as errors from './errors';
import * as ffi from './generated/rejoin_ffi';
import { ActionError, type ActionFault, ActionTooLargeError, ActionTooSlowError, ChangedError, type ChangedRow, ParentParkedError, UnsentError } from './refusals';
import { raise } from './statement';
import type { SqlValue } from './value';

export { ffi };

/** The members used here of the runtime's converter for callback objects. */
interface Converter {
  factory: { isConcreteType(value: object): boolean; create(pointer: bigint): object };
  handleMap: { get(handle: bigint): object };
  lower(value: object, alloc: undefined): bigint;
  lowerHandle(value: object): bigint;
  lift(handle: bigint): object;
}

// Corrections of the runtime (0.31.0-5), which is otherwise used as published.
const converter = FfiConverterObjectWithCallbacks.prototype as unknown as Converter;
const engineHandle = converter.lowerHandle;
// It converts a callback object that is a required argument, but passes an optional one to `lowerHandle`, which accepts objects of the
// engine only.
converter.lowerHandle = function (value) {
  return this.factory.isConcreteType(value) ? engineHandle.call(this, value) : this.lower(value, undefined);
};
// An odd handle is never a pointer; one that is not in the map belongs to a JavaScript runtime that a reload has ended (their pull
// request 458).
converter.lift = function (handle) {
  return (handle & 1n) === 1n ? this.handleMap.get(handle) : this.factory.create(handle);
};
// The maps of each JavaScript runtime, and of each test file of jest, start at 1, so a handle of an ended one could denote another object
// (their issue 470). The native part of React Native says where handles start, and refuses others.
const handles = UniffiHandleMap.prototype as unknown as { currentHandle: bigint; insert(value: object): bigint };
const insert = handles.insert;
const firstHandle = (): bigint =>
  (globalThis as { NativeRejoinFfi?: { first_handle?: bigint } }).NativeRejoinFfi?.first_handle ?? ((BigInt(Date.now()) << 20n) | 1n);
handles.insert = function (value) {
  if (this.currentHandle === 1n) this.currentHandle = firstHandle();
  return insert.call(this, value);
};

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
  if (error instanceof errors.RejoinError) {
    // Unless NODE_ENV is `production`, the bindings replace the stack of an error that was thrown in them by one without its message.
    if (error.stack !== undefined) error.stack = error.stack.replace(/^Error(: )?(?=\n)/, () => `${error.name}: ${error.message}`);
    return error;
  }
  if (!isRecord(error) || !ffi.RejoinError.instanceOf(error)) {
    return new errors.InternalError(`the call into the engine failed: ${messageOf(error)}`, { cause: error });
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
      const { action, fault, detail } = error.inner;
      return new ActionError(reason, { action, fault: FAULT[fault], detail });
    }
    case ffi.RejoinError_Tags.ActionTooSlow:
      return new ActionTooSlowError(reason, error.inner);
    case ffi.RejoinError_Tags.ActionTooLarge:
      return new ActionTooLargeError(reason, error.inner);
    case ffi.RejoinError_Tags.ParentParked:
      return new ParentParkedError(reason, error.inner.id);
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
    case ffi.RejoinError_Tags.Closed:
      return new errors.ClosedError(reason);
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
    case ffi.RejoinError_Tags.SubscriptionRefused: {
      const { stream, refusal, detail } = error.inner;
      return new errors.SubscriptionRefusedError(reason, { stream, refusal: REFUSAL[refusal], detail });
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
  const reason = messageOf(error);
  if (error instanceof errors.OfflineError) return new ffi.RejoinError.Offline({ reason });
  return new ffi.RejoinError.Callback({ reason });
}

/** Converts an error of a handler for the engine: an error of the context and a refusal keep their kind. */
export function thrownByAction(error: unknown): Error {
  const origin = error instanceof Error ? origins.get(error) : undefined;
  if (origin !== undefined) return origin as unknown as Error;
  if (error instanceof ActionError && error.fault === 'refused') {
    const { message: reason, action, detail } = error;
    return new ffi.RejoinError.Action({ reason, action, fault: ffi.ActionFault.Refused, detail });
  }
  return new ffi.RejoinError.Callback({ reason: messageOf(error) });
}

const FAULT: Record<ffi.ActionFault, ActionFault> = {
  [ffi.ActionFault.Unknown]: 'unknown',
  [ffi.ActionFault.Arguments]: 'arguments',
  [ffi.ActionFault.Refused]: 'refused',
  [ffi.ActionFault.SameRow]: 'same-row',
  [ffi.ActionFault.TimedOut]: 'timed-out',
};

/** The names of the reasons for a refused subscription. */
export const REFUSAL: Record<ffi.RefusalCode, errors.RefusalCode> = {
  [ffi.RefusalCode.UnknownStream]: 'unknown-stream',
  [ffi.RefusalCode.InvalidParameter]: 'invalid-parameter',
  [ffi.RefusalCode.Forbidden]: 'forbidden',
  [ffi.RefusalCode.QueryFailed]: 'query-failed',
  [ffi.RefusalCode.Unknown]: 'unknown',
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
export function messageOf(error: unknown): string {
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
