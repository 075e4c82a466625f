/**
 * Follows what React Native reports about the app and the network. `native.ts` provides the modules of React Native, so this file imports none.
 */
import { Subscription, report } from './callback';
import type { RejoinClient } from './client';
import { ClosedError, InvalidInputError } from './errors';

/** What {@link followApp} observes. */
export interface AppModules {
  /** Default in React Native: `AppState` of react-native. */
  readonly AppState?: { addEventListener(type: 'change', listener: (state: string) => void): { remove(): void } };
  /** Default in React Native: `Platform` of react-native. */
  readonly Platform?: { readonly OS: string };
  /** `NetInfo` of @react-native-community/netinfo. Without it the client finds out by its own attempts; if nothing has happened for a while, after minutes. */
  readonly NetInfo?: { addEventListener(listener: (state: NetworkState) => void): () => void };
}

/** The fields that are used of NetInfo's state. */
export interface NetworkState {
  readonly isConnected: boolean | null;
  readonly details?: { readonly isConnectionExpensive?: boolean } | null;
}

let ofReactNative: AppModules = {};

/** Sets the modules of React Native. @internal */
export function provideApp(modules: AppModules): void {
  ofReactNative = modules;
}

/**
 * Passes the state of the app and of the network to the client until the subscription is cancelled or the client is shut down.
 *
 * ```ts
 * import NetInfo from '@react-native-community/netinfo';
 *
 * followApp(client, { NetInfo }); // Or `followApp(client)`, without the module for the network.
 * ```
 *
 * In the foreground the client syncs at once. On iOS it is suspended in the background: iOS ends an app that holds the lock of a file
 * while it is suspended. Calls then throw SuspendedError; watches deliver afterwards what they missed. Errors are printed on the console.
 */
export function followApp(client: RejoinClient, modules: AppModules = {}): Subscription {
  const { AppState, Platform, NetInfo } = { ...ofReactNative, ...modules };
  if (AppState === undefined || Platform === undefined) {
    throw new InvalidInputError('followApp: outside of React Native, pass AppState and Platform');
  }
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
