/** Test helpers: hooks mounted below a provider, and a client that counts its watches. */
import type { RejoinClient, Subscription, WatchHandlers, WatchOptions } from '@rejoin/react-native';
import { cleanup, renderHook } from '@testing-library/react';
import type { ReactElement, ReactNode } from 'react';
import { afterEach } from 'vitest';
import { RejoinProvider, type SyncedDatabase } from '../../src/index';

// Before the clients are shut down: hooks run in the reverse order.
afterEach(cleanup);

/** A component that gets its children a client. */
export const provide = (client: SyncedDatabase) =>
  function Provided({ children }: { children: ReactNode }): ReactElement {
    return <RejoinProvider client={client}>{children}</RejoinProvider>;
  };

/** A mounted hook with everything that it returned. */
export interface Mounted<V, P> {
  readonly seen: V[];
  readonly last: () => V;
  readonly rerender: (props: P) => void;
  readonly unmount: () => void;
}

/** Mounts a hook. */
export function mount<V, P = undefined>(client: SyncedDatabase, hook: (props: P) => V, initialProps?: P, reactStrictMode = false): Mounted<V, P> {
  const seen: V[] = [];
  const { result, rerender, unmount } = renderHook(
    (props: P) => {
      const value = hook(props);
      seen.push(value);
      return value;
    },
    { wrapper: provide(client), initialProps: initialProps as P, reactStrictMode },
  );
  return { seen, last: () => result.current, rerender, unmount };
}

/** What a counting client has counted. */
export interface Counts {
  /** Watches that were started. */
  started: number;
  /** Watches that are running. */
  readonly running: () => number;
  /** Results that watches returned. */
  results: number;
  /** Reads of the whole queue. */
  reads: number;
}

/** The client with counts of its watches and reads of the queue. */
export function counting(client: RejoinClient): { client: RejoinClient; counts: Counts } {
  const watches: Subscription[] = [];
  const counts: Counts = { started: 0, results: 0, reads: 0, running: () => watches.filter(({ isCancelled }) => !isCancelled).length };
  const watch = <T,>(sql: string, params: [], handlers: WatchHandlers<T> & WatchOptions): Subscription => {
    counts.started += 1;
    const onRows: WatchHandlers<T>['onRows'] = (rows, update) => {
      counts.results += 1;
      return handlers.onRows(rows, update);
    };
    const subscription = client.watch<T>(sql, params, { ...handlers, onRows });
    watches.push(subscription);
    return subscription;
  };
  const all: RejoinClient['queue']['all'] = (options) => {
    counts.reads += 1;
    return client.queue.all(options);
  };
  const queue = replacing(client.queue, { all });
  return { client: replacing(client, { watch, queue }), counts };
}

/** An object with some members replaced. */
function replacing<T extends object>(object: T, members: object): T {
  return new Proxy(object, {
    get(target, name) {
      if (name in members) return members[name as keyof typeof members];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Longer than a store runs without listeners. */
export const afterLinger = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1_200));
