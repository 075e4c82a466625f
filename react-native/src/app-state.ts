/**
 * Follows what React Native reports about the app and the network. The modules of React Native are parameters, so this file needs none.
 */
import { Subscription, report } from './callback';
import type { RejoinClient } from './client';
import { ClosedError } from './errors';

/** What {@link followApp} needs: `AppState` and `Platform` of react-native, and `NetInfo` of @react-native-community/netinfo. */
export interface AppModules {
  readonly AppState: { addEventListener(type: 'change', listener: (state: string) => void): { remove(): void } };
  readonly Platform: { readonly OS: string };
  /** Optional: without it the client finds out by its own attempts; if nothing has happened for a while, after minutes. */
  readonly NetInfo?: { addEventListener(listener: (state: NetworkState) => void): () => void };
}

/** The fields that are used of NetInfo's state. */
export interface NetworkState {
  readonly isConnected: boolean | null;
  readonly details?: { readonly isConnectionExpensive?: boolean } | null;
}

/**
 * Passes the state of the app and of the network to the client until the subscription is cancelled or the client is shut down.
 *
 * ```ts
 * import NetInfo from '@react-native-community/netinfo';
 * import { AppState, Platform } from 'react-native';
 *
 * followApp(client, { AppState, Platform, NetInfo });
 * ```
 *
 * In the foreground the client syncs at once. On iOS it is suspended in the background: iOS ends an app that holds the lock of a file
 * while it is suspended. Calls then throw SuspendedError; watches deliver afterwards what they missed. Errors are printed on the console.
 */
export function followApp(client: RejoinClient, { AppState, Platform, NetInfo }: AppModules): Subscription {
  let last: Promise<unknown> = Promise.resolve();
  const ended = (error: unknown): void => void (error instanceof ClosedError ? subscription.cancel() : report(error, 'followApp'));
  // In the order of the events.
  const step = (run: () => unknown): void => void (last = last.then(() => (subscription.isCancelled ? undefined : run())).catch(ended));
  const app = AppState.addEventListener('change', (state) => {
    if (state === 'background' && Platform.OS === 'ios') step(() => client.sync.suspend());
    // `resume` changes nothing if the client is not suspended.
    if (state === 'active') step(() => client.sync.resume().then(() => client.sync.foreground()));
  });
  const forgetNetwork = NetInfo?.addEventListener(({ isConnected, details }) => {
    step(() => client.sync.setNetwork({ online: isConnected !== false, metered: details?.isConnectionExpensive === true }));
  });
  const subscription = new Subscription(() => {
    app.remove();
    forgetNetwork?.();
  });
  return subscription;
}
