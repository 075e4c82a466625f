/**
 * A value that is read from the client now and after each change that concerns it.
 *
 * One read at a time: changes during a read lead to one more. The queue hooks use it; queries have watches instead (`watching.ts`).
 */
import type { Change, RejoinError, Subscription } from '@rejoin/react-native';
import type { SyncedDatabase } from './provider';
import type { Begin } from './store';

/** A value with the state of its reading. */
export interface Reading<V> {
  /** The latest value. */
  readonly value: V;
  /** Whether it was not read yet. */
  readonly isLoading: boolean;
  /** Why the last read failed; undefined after one that succeeded. */
  readonly error: RejoinError | undefined;
}

/** How a value is read. */
interface Source<V> {
  readonly read: () => Promise<V>;
  /** Whether a change may have changed the value. */
  readonly concerns: (change: Change, value: V) => boolean;
  /** The previous value, or the parts of it that are equal. */
  readonly keep: (before: V, after: V) => V;
}

/** The first state and the feed of a store. */
export function reading<V>(client: SyncedDatabase, initial: V, { read, concerns, keep }: Source<V>): [Reading<V>, Begin<Reading<V>>] {
  const begin: Begin<Reading<V>> = (store) => {
    let [isLive, isReading, isStale] = [true, false, false];
    let changes: Subscription | undefined;
    let resumed: Subscription | undefined;
    const show = (part: Partial<Reading<V>>): void => {
      const before = store.get();
      const after = { value: before.value, isLoading: false, error: undefined, ...part };
      if (isLive && (before.isLoading || before.value !== after.value || before.error !== after.error)) store.set(after);
    };
    /** Reads again after `resume`, for which a watch waits that starts while the client is suspended. */
    const awaitResume = (): void => {
      resumed?.cancel();
      resumed = client.watch('SELECT 1', [], { onRows: () => (resumed?.cancel(), refresh()) });
    };
    const refresh = async (): Promise<void> => {
      isStale = true;
      if (isReading) return;
      isReading = true;
      while (isStale && isLive) {
        isStale = false;
        await read().then(
          (value) => show({ value: keep(store.get().value, value) }),
          (error: RejoinError) => (error.code === 'Suspended' && isLive ? awaitResume() : show({ error })),
        );
      }
      isReading = false;
    };
    try {
      // Before the first read, so that no change between the two is missed.
      changes = client.onChange([], (change) => void (concerns(change, store.get().value) && refresh()));
    } catch {
      // The client was shut down; the read reports it.
    }
    void refresh();
    return () => {
      isLive = false;
      changes?.cancel();
      resumed?.cancel();
    };
  };
  return [{ value: initial, isLoading: true, error: undefined }, begin];
}
