/**
 * A state that hooks share: it runs while it has listeners, and shortly after.
 *
 * The delay keeps one watch alive through the double mount of StrictMode, a Suspense retry and a change of screens. What runs is in
 * `watching.ts`, `reading.ts` and `status.ts`; `provider.ts` gives components their stores.
 */

/** How long a store runs without listeners. */
const LINGER_MS = 1_000;

/** Starts what feeds a store; returns its end. */
export type Begin<S> = (store: Store<S>) => () => void;

/** One shared state, in the form that `useSyncExternalStore` takes. */
export class Store<S> {
  #state: S;
  #end: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #begin: Begin<S>;
  readonly #owner: Map<string, unknown>;
  readonly #id: string;

  /** A store that `owner` lists under `id` until it is idle. */
  constructor(initial: S, begin: Begin<S>, owner: Map<string, unknown>, id: string) {
    this.#state = initial;
    this.#begin = begin;
    this.#owner = owner;
    this.#id = id;
    owner.set(id, this);
    // A render that React abandons never subscribes.
    this.#linger();
  }

  readonly get = (): S => this.#state;

  /** Replaces the state and notifies the listeners, unless it is the same object. */
  set(state: S): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) listener();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    clearTimeout(this.#timer);
    // React can hide a component for long and show it again with the store that it had.
    if (!this.#owner.has(this.#id)) this.#owner.set(this.#id, this);
    this.#end ??= this.#begin(this);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#linger();
    };
  };

  #linger(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#end?.();
      this.#end = undefined;
      if (this.#owner.get(this.#id) === this) this.#owner.delete(this.#id);
    }, LINGER_MS);
  }
}

const stores = new WeakMap<object, Map<string, unknown>>();

/** The store of this database with this id; `make` returns the first state and the feed of a new one. */
export function shared<S>(database: object, id: string, make: () => readonly [initial: S, begin: Begin<S>]): Store<S> {
  let owner = stores.get(database);
  if (owner === undefined) stores.set(database, (owner = new Map()));
  return (owner.get(id) as Store<S> | undefined) ?? new Store(...make(), owner, id);
}
