/** What replaces `platform.ts` of the app: a device with a folder, a token store, and an app and a network that the test changes. */
import type { AppModules, NetworkState } from '@rejoin/react-native';
import { folder } from '../../../test/support/world';

/** A device with a new folder and no user. Its members are those of `platform.ts`. */
export class Device {
  readonly #listeners = { app: new Set<(state: string) => void>(), network: new Set<(state: NetworkState) => void>() };
  /** The stored token. */
  token: string | null = null;
  /** What reads of the token store throw. */
  fault: Error | undefined;

  constructor(
    readonly url: string,
    readonly path = folder(),
  ) {}

  readonly folder = (): string => this.path;
  readonly serverUrl = (): string => this.url;
  readonly tokens = {
    read: async (): Promise<string | null> => {
      if (this.fault !== undefined) throw this.fault;
      return this.token;
    },
    save: async (token: string): Promise<void> => void (this.token = token),
    clear: async (): Promise<void> => void (this.token = null),
  };
  readonly modules = (): AppModules => {
    const { app, network } = this.#listeners;
    const listen = <T>(listeners: Set<T>, listener: T): (() => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    };
    return {
      AppState: { addEventListener: (_, listener) => ({ remove: listen(app, listener) }) },
      NetInfo: { addEventListener: (listener) => listen(network, listener) },
      Platform: { OS: 'ios' },
    };
  };

  /** Reports what AppState reports. */
  app(state: 'active' | 'background'): void {
    for (const listener of this.#listeners.app) listener(state);
  }

  /** Reports what NetInfo reports. */
  network(isConnected: boolean): void {
    for (const listener of this.#listeners.network) listener({ isConnected });
  }
}
