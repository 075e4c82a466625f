/**
 * React hooks for Rejoin.
 *
 * They depend on React and on the types of `@rejoin/react-native`, not on React Native. The app reports the network and the foreground to
 * the client itself (`client.sync.setNetwork`, `client.sync.foreground`).
 */
export { type ParkedDecisions, type ParkedWrites, useParkedWrites } from './parked';
export { type ParkedColumn, type ParkedRow, type ParkedWrite, updateRow } from './parked-types';
export { RejoinProvider, type RejoinProviderProps, type SyncedDatabase, useRejoin } from './provider';
export { type QueryOneResult, type SuspenseQueryResult, useQuery, useQueryOne, useSuspenseQuery } from './queries';
export { type PendingWrites, usePendingWrites, useRowState } from './queue';
export { useSyncStatus } from './status';
export { useSubscription } from './subscription';
export type { QueryOptions, QueryResult } from './watching';
export { type ActionState, type TransactionState, useAction, useTransaction, type WriteState } from './writes';
