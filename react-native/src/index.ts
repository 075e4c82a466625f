/** The public API of the package. */
export { ActionContext } from './acting';
export {
  type ActionDefinition,
  type ActionHandler,
  type ActionParameter,
  Actions,
  type ActionUpgrade,
  type ArgumentOf,
  type ArgumentsOf,
  type DeclaredAction,
  type ParameterType,
  type Performed,
  type Projection,
} from './actions';
export type { Statement } from './border';
export { Subscription } from './callback';
export { type CheckpointMode, RejoinClient, type Services } from './client';
export type { ActionBudget, ClientConfig, ConflictPolicy, Durability, MeteredPolicy } from './config';
export * from './errors';
export type { AcceptedMutation, HistoryBounds, Keep, ResetReport, Undone } from './history';
export type { ImportedTable, LeftOut, SynchroImport } from './import';
export type { Json, JsonParam } from './json';
export { type LogLevel, type LogRecord, type LogSink, setLogSink } from './log';
export type {
  Change,
  MutationState,
  ParkReason,
  PendingColumn,
  PendingCounts,
  PendingMutation,
  PendingRow,
  RowSyncState,
  SyncReport,
  Verdict,
} from './queue';
export * from './refusals';
export { type DecodeOptions, type Row, RowBuffer } from './row-buffer';
export type { FirstSync, SyncState, SyncStatus } from './status';
export type { TokenProvider } from './tokens';
export { type AbortOptions, Snapshot, Transaction } from './transaction';
export { type Fetch, type FetchInit, type FetchResponse, fetchTransport, type HttpRequest, type HttpResponse, type HttpTransport } from './transport';
export { type IntegerMode, real, type SqlParam, SqlReal, type SqlValue } from './value';
export type { VerdictEntry, Verdicts } from './verdicts';
export { type RowDifference, Watch, type WatchHandlers, type WatchOptions, type WatchUpdate } from './watch';
