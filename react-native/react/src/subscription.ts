/** A subscription to a stream as a hook; one for all components with the same rows and options. */
import type { RejoinError, StreamParameters, StreamStatus, StreamSubscription, SubscribeOptions, Subscription } from '@rejoin/react-native';
import { encode } from './identity';
import { type SyncedDatabase, useStore, useValue } from './provider';
import type { Store } from './store';

const WAITING: StreamStatus = { kind: 'waiting' };

/**
 * Subscribes to the rows of a stream while the component is mounted, and returns whether they are here. About a second after the last
 * component has unmounted, the ttl of the subscription begins.
 *
 * ```tsx
 * const { kind } = useSubscription('project', { project: id });
 * return kind === 'loading' ? <Spinner /> : <Tasks project={id} />;
 * ```
 *
 * Works offline: the status is `'waiting'` until a sync returns one. A refused subscription is a status. Parameters and options are compared
 * by value. If the subscription cannot be stored, the error is printed on the console, and the status stays `'waiting'`.
 */
export function useSubscription(stream: string, parameters: StreamParameters = {}, { ttlMs, priority }: SubscribeOptions = {}): StreamStatus {
  const values = Object.entries(parameters).sort(([one], [other]) => (one < other ? -1 : 1));
  const id = `stream ${encode([stream, values, ttlMs, priority])}`;
  const subscribe = (client: SyncedDatabase): Promise<StreamSubscription> => client.sync.subscribe(stream, parameters, { ttlMs, priority });
  return useValue(useStore<StreamStatus>(id, (client) => [WAITING, (store) => hold(client, store, () => subscribe(client))]));
}

/** Holds a subscription and shows its status, until the returned function is called. */
function hold(client: SyncedDatabase, store: Store<StreamStatus>, subscribe: () => Promise<StreamSubscription>): () => void {
  let isLive = true;
  let held: StreamSubscription | undefined;
  let observer: Subscription | undefined;
  const show = (): void => {
    if (held !== undefined && encode(held.status) !== encode(store.get())) store.set(held.status);
  };
  const begin = (subscription: StreamSubscription): void => {
    if (!isLive) return subscription.release();
    held = subscription;
    observer = client.sync.onSubscriptions(show);
  };
  const failed = (error: RejoinError): void => {
    if (!isLive || error.code === 'Closed') return;
    if (error.code !== 'Suspended') return console.error('rejoin: a subscription could not be stored', error);
    // A watch that starts while the client is suspended waits for `resume`.
    observer = client.watch('SELECT 1', [], { onRows: () => (observer?.cancel(), start()) });
  };
  const start = (): void => void subscribe().then(begin).catch(failed);
  start();
  return () => {
    isLive = false;
    observer?.cancel();
    held?.release();
    held = undefined;
  };
}
