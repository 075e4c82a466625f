/** The public API of the package. */
export { ActionContext } from './acting';
export type {
  ActionDefinition,
  ActionHandler,
  ActionParameter,
  ActionUpgrade,
  ArgumentOf,
  ArgumentsOf,
  DeclaredAction,
  ParameterType,
  Performed,
  Projection,
} from './action-types';
export { Actions } from './actions';
export { type AppModules, followApp, type NetworkState } from './app-state';
export { type Change, Subscription } from './callback';
export { RejoinClient, type Services } from './client';
export { type ActionBudget, type ConflictPolicy, type Durability, type MeteredPolicy, RejoinConfig } from './config';
export type { DatabaseReader, DatabaseTransaction, DatabaseWriter, RejoinDatabase } from './database';
export * from './errors';
export type { AcceptedMutation, HistoryBounds, Undone } from './history';
export type { Json, JsonParam } from './json';
export { type LogLevel, type LogRecord, type RejoinLogger, setLogger } from './log';
export type { MutationState, ParkReason, PendingColumn, PendingCounts, PendingMutation, PendingRow, RowSyncState } from './mutations';
export type { QueueHandle } from './queue';
export * from './refusals';
export { type DecodeOptions, type Row, RowBuffer } from './row-buffer';
export type { SchemaHandle } from './schema';
export type { Statement } from './statement';
export type { FirstSync, LeftOutPart, SyncState, SyncStatus } from './status';
export type { CheckpointMode, ImportedTable, Keep, LeftOut, ResetReport, StorageHandle, SynchroImport } from './storage';
export { type StreamParameters, type StreamStatus, StreamSubscription, type SubscribedStream, type SubscribeOptions } from './streams';
export type { DoctorReport, SyncHandle, SyncReport, TableCheck } from './sync';
export type { TokenFunction, TokenProvider } from './tokens';
export { type AbortOptions, Snapshot, Transaction } from './transaction';
export { type Fetch, type FetchInit, type FetchResponse, fetchTransport, type HttpRequest, type HttpResponse, type HttpTransport } from './transport';
export { type IntegerMode, real, type SqlParam, SqlReal, type SqlValue } from './value';
export type { ColumnValues, ConflictedRow, Correction, EffectRow, VerdictDetail } from './verdict-detail';
export type { Verdict, VerdictEntry, Verdicts } from './verdicts';
export { type RowDifference, Watch, type WatchedQuery, type WatchHandlers, type WatchOptions, type WatchUpdate } from './watch';
