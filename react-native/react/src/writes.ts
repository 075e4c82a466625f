/**
 * Actions and transactions as hooks.
 *
 * A write completes even if its component unmounts. Single statements need no hook: call `useRejoin().execute`.
 */
import type { AbortOptions, DecodeOptions, Json, JsonParam, PendingMutation, Performed, Transaction } from '@rejoin/react-native';
import { useCallback, useMemo, useRef, useState } from 'react';
import { useRejoin } from './provider';
import { usePendingWrites } from './queue';

/** The local progress of a write. */
export interface WriteState {
  /** Whether a run has not finished on this device. It does not wait for the server. */
  readonly isRunning: boolean;
  /** What the latest run threw; undefined from the next run on. */
  readonly error: Error | undefined;
}

/** Counts the runs, and keeps the error of the latest. The promise may be ignored: its error is in the state. */
export function useRuns(): [WriteState, <R>(begin: () => Promise<R>) => Promise<R>] {
  const [state, setState] = useState({ running: 0, error: undefined as Error | undefined });
  const latest = useRef(0);
  const track = useCallback(<R>(begin: () => Promise<R>): Promise<R> => {
    const run = (latest.current += 1);
    setState(({ running }) => ({ running: running + 1, error: undefined }));
    const promise = begin();
    const end = (thrown?: Error): void =>
      setState(({ running, error }) => ({ running: running - 1, error: run === latest.current ? thrown : error }));
    promise.then(() => end(), end);
    return promise;
  }, []);
  return [useMemo(() => ({ isRunning: state.running > 0, error: state.error }), [state]), track];
}

/** An action with its mutations. */
export interface ActionState<A, T> extends WriteState {
  /**
   * Performs the action. Rejects as `perform` does; the error is also in `error`, so the promise may be ignored.
   *
   * Works offline: it is fulfilled when the action is on disk and in the queue.
   */
  readonly run: (args?: A) => Promise<Performed<T>>;
  /** The mutations of this action that wait for the server, also those of other components and of earlier starts of the app. */
  readonly pending: readonly PendingMutation[];
  /** Those that the server did not accept, until they are decided; see `useParkedWrites`. */
  readonly parked: readonly PendingMutation[];
}

/**
 * Performs a registered action and follows its mutations.
 *
 * ```tsx
 * const take = useAction<{ id: string; n: number }>('take');
 * return <Button title="Take 2" disabled={take.isRunning} onPress={() => take.run({ id, n: 2 })} />;
 * ```
 *
 * The type parameters, of the arguments and the value, are not checked.
 */
export function useAction<A extends { readonly [name in keyof A]: JsonParam | undefined } = Record<string, JsonParam | undefined>, T = Json>(
  name: string,
  { integers }: DecodeOptions = {},
): ActionState<A, T> {
  const client = useRejoin();
  const { pending, parked } = usePendingWrites(name);
  const [state, track] = useRuns();
  const run = useCallback(
    (args?: A) => track(() => client.perform<T>(name, args as Record<string, JsonParam | undefined> | undefined, integers === undefined ? {} : { integers })),
    [client, name, integers, track],
  );
  return useMemo(() => ({ ...state, run, pending, parked }), [state, run, pending, parked]);
}

/** A transaction with its progress. */
export interface TransactionState extends WriteState {
  /** Runs the body as `transaction` does. Rejects with what it throws, after the rollback; the error is also in `error`. */
  readonly run: <R>(body: (tx: Transaction) => Promise<R> | R, options?: AbortOptions) => Promise<R>;
}

/**
 * Runs transactions and follows their progress.
 *
 * ```tsx
 * const { run, isRunning, error } = useTransaction();
 * const onPress = () => run(async (tx) => { await tx.execute('DELETE FROM task WHERE list_id = ?', [list]); });
 * ```
 */
export function useTransaction(): TransactionState {
  const client = useRejoin();
  const [state, track] = useRuns();
  const run = useCallback<TransactionState['run']>((body, options) => track(() => client.transaction(body, options)), [client, track]);
  return useMemo(() => ({ ...state, run }), [state, run]);
}
