/** Every kind of engine error is converted to its own class with its data, and back. */
import { expect, test } from 'vitest';
import { ffi, thrownByAction, translated } from '../src/border';
import * as api from '../src/index';

const reason = 'why';
const row = {
  table: 'task',
  key: new ffi.SqlValue.Text({ value: 't1' }),
  columns: ['n'],
  wrote: [{ name: 'n', value: new ffi.SqlValue.Integer({ value: 2n ** 60n }) }],
  present: undefined,
} as unknown as ffi.ChangedRow;
const E = ffi.RejoinError;

type Kind = [made: ffi.RejoinError, type: new (...args: never[]) => api.RejoinError, data: object];
const KINDS: Record<keyof typeof ffi.RejoinError_Tags, Kind> = {
  InvalidInput: [new E.InvalidInput({ reason }), api.InvalidInputError, {}],
  Constraint: [new E.Constraint({ reason, table: 't', column: 'c', rule: 'UNIQUE' }), api.ConstraintError, { table: 't', column: 'c', rule: 'UNIQUE' }],
  Action: [
    new E.Action({ reason, action: 'take', fault: ffi.ActionFault.SameRow, detail: 'stock' }),
    api.ActionError,
    { action: 'take', fault: 'same-row', detail: 'stock' },
  ],
  ActionTooSlow: [new E.ActionTooSlow({ reason, action: 'take', limitMs: 2_000 }), api.ActionTooSlowError, { action: 'take', limitMs: 2_000 }],
  ActionTooLarge: [new E.ActionTooLarge({ reason, action: 'take', limitBytes: 1_024 }), api.ActionTooLargeError, { action: 'take', limitBytes: 1_024 }],
  ParentParked: [new E.ParentParked({ reason, id: 'm1' }), api.ParentParkedError, { id: 'm1' }],
  Unsent: [new E.Unsent({ reason, waiting: 3 }), api.UnsentError, { waiting: 3 }],
  Changed: [
    new E.Changed({ reason, rows: [row] }),
    api.ChangedError,
    { rows: [{ table: 'task', key: 't1', columns: ['n'], wrote: { n: 2n ** 60n } }] },
  ],
  Storage: [new E.Storage({ reason }), api.StorageError, {}],
  WrongUser: [new E.WrongUser({ reason }), api.WrongUserError, {}],
  Configuration: [new E.Configuration({ reason }), api.ConfigurationError, {}],
  Suspended: [new E.Suspended({ reason }), api.SuspendedError, {}],
  Closed: [new E.Closed({ reason }), api.ClosedError, {}],
  TransactionTimeout: [new E.TransactionTimeout({ reason }), api.TransactionTimeoutError, {}],
  Offline: [new E.Offline({ reason }), api.OfflineError, {}],
  Unauthorized: [new E.Unauthorized({ reason }), api.UnauthorizedError, {}],
  UpgradeRequired: [new E.UpgradeRequired({ reason }), api.UpgradeRequiredError, {}],
  Server: [new E.Server({ reason, status: 429, code: 'slow', retryable: true }), api.ServerError, { status: 429, serverCode: 'slow', retryable: true }],
  SubscriptionRefused: [
    new E.SubscriptionRefused({ reason, stream: 'project', refusal: ffi.RefusalCode.Forbidden, detail: 'no member' }),
    api.SubscriptionRefusedError,
    { stream: 'project', refusal: 'forbidden', detail: 'no member' },
  ],
  Protocol: [new E.Protocol({ reason }), api.ProtocolError, {}],
  Callback: [new E.Callback({ reason }), api.CallbackError, {}],
  Internal: [new E.Internal({ reason }), api.InternalError, {}],
};

test.each(Object.entries(KINDS))('%s is converted with its data and back', (code, [made, type, data]) => {
  const error = translated(made);
  expect(error).toBeInstanceOf(type);
  expect(error).toMatchObject({ code, name: `${code}Error`, message: reason, ...data });
  expect(thrownByAction(error)).toBe(made);
  expect(translated(error), 'a converted error is unchanged').toBe(error);
});

test('each action fault has its name', () => {
  const nameOf = (fault: ffi.ActionFault): string => (translated(new E.Action({ reason, action: 'a', fault, detail: '' })) as api.ActionError).fault;
  const faults = [ffi.ActionFault.Unknown, ffi.ActionFault.Arguments, ffi.ActionFault.Refused, ffi.ActionFault.SameRow, ffi.ActionFault.TimedOut];
  expect(faults.map(nameOf)).toEqual(['unknown', 'arguments', 'refused', 'same-row', 'timed-out']);
});

test('each refusal of a subscription has its name', () => {
  const nameOf = (refusal: ffi.RefusalCode): string =>
    (translated(new E.SubscriptionRefused({ reason, stream: 's', refusal, detail: '' })) as api.SubscriptionRefusedError).refusal;
  const { UnknownStream, InvalidParameter, Forbidden, QueryFailed, Unknown } = ffi.RefusalCode;
  const names = ['unknown-stream', 'invalid-parameter', 'forbidden', 'query-failed', 'unknown'];
  expect([UnknownStream, InvalidParameter, Forbidden, QueryFailed, Unknown].map(nameOf)).toEqual(names);
});

test('app errors become a refusal or a callback error', () => {
  const refusal = new api.ActionError('no', { action: '', fault: 'refused', detail: 'too late' });
  expect(thrownByAction(refusal)).toMatchObject({ tag: ffi.RejoinError_Tags.Action, inner: { fault: ffi.ActionFault.Refused, detail: 'too late' } });
  for (const own of [new api.StorageError('own'), new Error('own'), 'own', new api.ActionError('own', { action: '', fault: 'unknown', detail: '' })]) {
    expect(thrownByAction(own)).toMatchObject({ tag: ffi.RejoinError_Tags.Callback, inner: { reason: 'own' } });
  }
  expect(translated('nonsense')).toMatchObject({ code: 'Internal', cause: 'nonsense' });
});
