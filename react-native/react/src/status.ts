/** The sync status as a hook; one observer for all components. */
import type { Subscription, SyncStatus } from '@rejoin/react-native';
import { encode } from './identity';
import { type SyncedDatabase, useStore, useValue } from './provider';
import type { Store } from './store';

/** The current sync status, and each change. Offline is a status, not an error; after the shutdown it is `'stopped'`. */
export function useSyncStatus(): SyncStatus {
  return useValue(useStore<SyncStatus>('status', (client) => [client.status(), (store) => follow(client, store)]));
}

function follow(client: SyncedDatabase, store: Store<SyncStatus>): () => void {
  const show = (status: SyncStatus): void => {
    if (encode(status) !== encode(store.get())) store.set(status);
  };
  let subscription: Subscription | undefined;
  try {
    subscription = client.onStatus(show);
  } catch {
    // The client was shut down.
  }
  // The status may have changed since the render.
  show(client.status());
  return () => subscription?.cancel();
}
