/**
 * The sync status and its conversion from the engine's type.
 *
 * Offline is a status, not an error. Local reads and writes never depend on the status.
 */
import { ffi } from './border';

/** The sync state, a union by `kind`. Times are milliseconds since 1970, as `Date` takes them. */
export type SyncState =
  /** Nothing to do at present. */
  | { readonly kind: 'idle' }
  /** Connecting to the server; also after `resume`, until its pass starts. */
  | { readonly kind: 'connecting' }
  /** Sending local writes. */
  | { readonly kind: 'pushing' }
  /** Applying rows of the server; `total` if known. */
  | { readonly kind: 'applying'; readonly done: number; readonly total?: number; readonly rowsPerSecond: number }
  /** The server has requested a pause until `atMs`. */
  | { readonly kind: 'waiting'; readonly atMs: number; readonly reason: string }
  /** No response; the next attempt is at `retryAtMs` or when the network is available again. */
  | { readonly kind: 'offline'; readonly retryAtMs?: number; readonly reason: string }
  /** The metered policy prevents syncing. */
  | { readonly kind: 'metered' }
  /** The user must sign in; then call `credentialsChanged`. */
  | { readonly kind: 'needs-auth' }
  /** The server requires a newer version of the app. */
  | { readonly kind: 'upgrade-required'; readonly reason: string }
  /** `maxRetries` attempts have failed; attempts continue. */
  | { readonly kind: 'failed'; readonly reason: string; readonly retryAtMs: number }
  /**
   * The last pass, which ended at `sinceMs`, pushed and pulled everything. After `resume`, only a pass that began
   * after it sets this state. Later writes and remote changes wait for the next pass; `sync.run` waits for one.
   */
  | { readonly kind: 'up-to-date'; readonly sinceMs: number }
  /** The client is suspended. */
  | { readonly kind: 'suspended' }
  /** Syncing was not started, or was stopped. */
  | { readonly kind: 'stopped' };

/** The progress of the first sync: no data, partial data, or complete. */
export type FirstSync = 'absent' | 'partial' | 'done';

/** A table of the server, or a part of one, that this device has left out of its schema. */
export interface LeftOutPart {
  readonly table: string;
  /** What of it: `table`, or `index NAME`, `CHECK NAME`, `trigger NAME` and the like. */
  readonly part: string;
  /** Why, and the remedy. */
  readonly reason: string;
}

/** The sync state, whether there is data to show, and what is left out. */
export interface SyncStatus {
  readonly state: SyncState;
  /** The progress of the first sync. */
  readonly firstSync: FirstSync;
  /**
   * Tables of the server, and rules and indexes, that this device has left out of its schema. The others are synced. A
   * name that the app uses itself is adopted by the next sync after the app drops or renames its own object.
   * Also the app's triggers that failed on rows of the server, until the app drops or replaces them.
   */
  readonly leftOut: readonly LeftOutPart[];
}

/** The status of a client after its shutdown. @internal */
export function stopped(before: SyncStatus): SyncStatus {
  return { ...before, state: { kind: 'stopped' } };
}

const FIRST_SYNC: Record<ffi.FirstSync, FirstSync> = {
  [ffi.FirstSync.Absent]: 'absent',
  [ffi.FirstSync.Partial]: 'partial',
  [ffi.FirstSync.Done]: 'done',
};

/** Converts the engine's status. @internal */
export function raiseStatus(status: ffi.SyncStatus): SyncStatus {
  const leftOut = status.leftOut.map(({ table, part, reason }) => ({ table, part, reason }));
  return { state: raiseState(status.state), firstSync: FIRST_SYNC[status.firstSync], leftOut };
}

function raiseState(state: ffi.SyncState): SyncState {
  switch (state.tag) {
    case ffi.SyncState_Tags.Idle:
      return { kind: 'idle' };
    case ffi.SyncState_Tags.Connecting:
      return { kind: 'connecting' };
    case ffi.SyncState_Tags.Pushing:
      return { kind: 'pushing' };
    case ffi.SyncState_Tags.Applying: {
      const { done, total, rowsPerSecond } = state.inner;
      return { kind: 'applying', done, rowsPerSecond, ...(total === undefined ? {} : { total }) };
    }
    case ffi.SyncState_Tags.WaitingUntil:
      return { kind: 'waiting', atMs: Number(state.inner.atMs), reason: state.inner.reason };
    case ffi.SyncState_Tags.Offline: {
      const { retryAtMs, reason } = state.inner;
      return { kind: 'offline', reason, ...(retryAtMs === undefined ? {} : { retryAtMs: Number(retryAtMs) }) };
    }
    case ffi.SyncState_Tags.Metered:
      return { kind: 'metered' };
    case ffi.SyncState_Tags.NeedsAuth:
      return { kind: 'needs-auth' };
    case ffi.SyncState_Tags.UpgradeRequired:
      return { kind: 'upgrade-required', reason: state.inner.reason };
    case ffi.SyncState_Tags.Failed:
      return { kind: 'failed', reason: state.inner.reason, retryAtMs: Number(state.inner.retryAtMs) };
    case ffi.SyncState_Tags.UpToDate:
      return { kind: 'up-to-date', sinceMs: Number(state.inner.sinceMs) };
    case ffi.SyncState_Tags.Suspended:
      return { kind: 'suspended' };
    case ffi.SyncState_Tags.Stopped:
      return { kind: 'stopped' };
  }
}
