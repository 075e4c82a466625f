/**
 * What syncing is doing, and how the app hears of it.
 *
 * Promise: a status says what an app can show or do; being offline is a status, not an error.
 * Border: local reads and writes never depend on it.
 */
import { ffi } from './border';

/** What syncing is doing; told apart by `kind`. Times are milliseconds since 1970, as `Date` takes them. */
export type SyncState =
  /** Nothing to do just now. */
  | { readonly kind: 'idle' }
  /** Reaching for the server. */
  | { readonly kind: 'connecting' }
  /** Sending local writes. */
  | { readonly kind: 'pushing' }
  /** Taking in the server's rows; `total` where it is known. */
  | { readonly kind: 'applying'; readonly done: number; readonly total?: number; readonly rowsPerSecond: number }
  /** The server asked to be left alone until then. */
  | { readonly kind: 'waiting'; readonly at: number; readonly why: string }
  /** No answer; tried again at `retryAt`, or when the network comes back. */
  | { readonly kind: 'offline'; readonly retryAt?: number; readonly why: string }
  /** The metered policy holds syncing back. */
  | { readonly kind: 'metered' }
  /** Somebody has to sign in; then call `credentialsChanged`. */
  | { readonly kind: 'needs-auth' }
  /** The server wants a newer app. */
  | { readonly kind: 'upgrade-required'; readonly why: string }
  /** Tried often enough to say so; it goes on trying. */
  | { readonly kind: 'failed'; readonly why: string; readonly retryAt: number }
  /** Everything is here and there. */
  | { readonly kind: 'up-to-date'; readonly since: number }
  /** The client is suspended. */
  | { readonly kind: 'suspended' }
  /** Syncing was not started, or was stopped. */
  | { readonly kind: 'stopped' };

/** Whether everything has been here once: nothing yet, a part, or all. */
export type FirstSync = 'absent' | 'partial' | 'done';

/** What syncing is doing, and whether there is data to show. */
export interface SyncStatus {
  /** What it is doing. */
  readonly state: SyncState;
  /** Whether everything has been here once. */
  readonly firstSync: FirstSync;
}

/** What a client says of itself after its end. @internal */
export function stopped(before: SyncStatus): SyncStatus {
  return { state: { kind: 'stopped' }, firstSync: before.firstSync };
}

const FIRST_SYNC: Record<ffi.FirstSync, FirstSync> = {
  [ffi.FirstSync.Absent]: 'absent',
  [ffi.FirstSync.Partial]: 'partial',
  [ffi.FirstSync.Done]: 'done',
};

/** A status on its way out. @internal */
export function raiseStatus(status: ffi.SyncStatus): SyncStatus {
  return { state: raiseState(status.state), firstSync: FIRST_SYNC[status.firstSync] };
}

/** The engine counts microseconds. */
const milliseconds = (micros: bigint): number => Number(micros) / 1000;

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
      return { kind: 'waiting', at: milliseconds(state.inner.at), why: state.inner.why };
    case ffi.SyncState_Tags.Offline: {
      const { retryAt, why } = state.inner;
      return { kind: 'offline', why, ...(retryAt === undefined ? {} : { retryAt: milliseconds(retryAt) }) };
    }
    case ffi.SyncState_Tags.Metered:
      return { kind: 'metered' };
    case ffi.SyncState_Tags.NeedsAuth:
      return { kind: 'needs-auth' };
    case ffi.SyncState_Tags.UpgradeRequired:
      return { kind: 'upgrade-required', why: state.inner.why };
    case ffi.SyncState_Tags.Failed:
      return { kind: 'failed', why: state.inner.why, retryAt: milliseconds(state.inner.retryAt) };
    case ffi.SyncState_Tags.UpToDate:
      return { kind: 'up-to-date', since: milliseconds(state.inner.since) };
    case ffi.SyncState_Tags.Suspended:
      return { kind: 'suspended' };
    case ffi.SyncState_Tags.Stopped:
      return { kind: 'stopped' };
  }
}
