/** The client of a component tree, and the stores of its hooks. */
import type { QueueHandle, RejoinClient, RejoinDatabase, SyncHandle } from '@rejoin/react-native';
import { createContext, createElement, type ReactElement, type ReactNode, useContext, useMemo, useSyncExternalStore } from 'react';
import { type Begin, shared, type Store } from './store';

/** What the hooks need of a client: a `RejoinClient`, or a fake in tests. */
export interface SyncedDatabase extends RejoinDatabase {
  readonly queue: Pick<QueueHandle, 'all' | 'rowState' | 'retryChain' | 'discardChain' | 'edit'>;
  readonly sync: Pick<SyncHandle, 'subscribe' | 'onSubscriptions'>;
}

const Context = createContext<SyncedDatabase | undefined>(undefined);

/** The properties of {@link RejoinProvider}. */
export interface RejoinProviderProps {
  /** An open client. The provider neither opens it nor shuts it down. */
  readonly client: SyncedDatabase;
  readonly children?: ReactNode;
}

/**
 * Gives the components below it a client.
 *
 * ```tsx
 * <RejoinProvider client={client}><App /></RejoinProvider>
 * ```
 *
 * Open the client once, outside of components. With another client the hooks below start again.
 */
export function RejoinProvider({ client, children }: RejoinProviderProps): ReactElement {
  return createElement(Context.Provider, { value: client }, children);
}

/**
 * The client of the nearest {@link RejoinProvider}. The type parameter is not checked.
 *
 * @throws Error if there is no provider.
 */
export function useRejoin<C extends SyncedDatabase = RejoinClient>(): C {
  const client = useContext(Context);
  if (client === undefined) throw new Error('there is no client: wrap the component in <RejoinProvider client={...}>');
  return client as C;
}

/** The store with this id of the current client. `make` must depend only on the id and the client. */
export function useStore<S>(id: string, make: (client: SyncedDatabase) => readonly [initial: S, begin: Begin<S>]): Store<S> {
  const client = useRejoin<SyncedDatabase>();
  return useMemo(() => shared(client, id, () => make(client)), [client, id]);
}

/** The current state of a store. */
export function useValue<S>(store: Store<S>): S {
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}
