/*
 * What syncing is doing, as values to show.
 *
 * Being offline is a state among others, no exception.
 */
package dev.rejoin

import kotlin.time.Instant
import dev.rejoin.ffi.FirstSync as FfiFirstSync
import dev.rejoin.ffi.SyncReport as FfiSyncReport
import dev.rejoin.ffi.SyncState as FfiSyncState
import dev.rejoin.ffi.SyncStatus as FfiSyncStatus

/**
 * What syncing is doing, and how far it ever came. Watch it by [RejoinClient.status].
 *
 * @property state what it is doing.
 * @property firstSync whether the tables have ever been complete.
 */
public data class SyncStatus(val state: SyncState, val firstSync: FirstSync)

/** Whether the tables have ever been complete. */
public enum class FirstSync {
    /** Nothing has come yet. */
    ABSENT,

    /** Under way: tables hold a part of the rows. */
    PARTIAL,

    /** Done, maybe long ago. */
    DONE,
}

/** What syncing is doing; local work goes on in every state but [Suspended]. */
public sealed interface SyncState {
    /** Nothing was tried yet. */
    public data object Idle : SyncState

    /** A pass has begun. */
    public data object Connecting : SyncState

    /** Local writes are on their way. */
    public data object Pushing : SyncState

    /**
     * Remote rows are being fetched and applied.
     *
     * @property done rows applied in this pass.
     * @property total rows to come in all, where the server has said so.
     * @property rowsPerSecond the pace since the pass began.
     */
    public data class Applying(val done: Long, val total: Long?, val rowsPerSecond: Long) : SyncState

    /**
     * The server answered that it cannot just now.
     *
     * @property at when it is tried again.
     * @property why what the last attempt found.
     */
    public data class WaitingUntil(val at: Instant, val why: String) : SyncState

    /**
     * No server can be reached.
     *
     * @property retryAt the next attempt; null while the device itself says that there is no network.
     * @property why what the last attempt found.
     */
    public data class Offline(val retryAt: Instant?, val why: String) : SyncState

    /** The network is metered, and the policy holds back what remains. */
    public data object Metered : SyncState

    /** Credentials are missing or refused; the queue waits for new ones. */
    public data object NeedsAuth : SyncState

    /**
     * The server asks for a newer app; the queue waits.
     *
     * @property why the server's words.
     */
    public data class UpgradeRequired(val why: String) : SyncState

    /**
     * Something that a quick retry does not mend; tried again all the same.
     *
     * @property why what.
     * @property retryAt the next attempt.
     */
    public data class Failed(val why: String, val retryAt: Instant) : SyncState

    /**
     * All was pushed and pulled.
     *
     * @property since when the last pass ended.
     */
    public data class UpToDate(val since: Instant) : SyncState

    /** The app is in the background: no file, no lock and no connection is held. */
    public data object Suspended : SyncState

    /** Syncing was stopped. */
    public data object Stopped : SyncState
}

/**
 * What a sync brought about.
 *
 * @property accepted mutations that the server accepted.
 * @property parked mutations that it did not; [RejoinClient.pending] says why.
 * @property pulled rows that came in.
 * @property stillPending mutations that have no verdict yet: the server asked to be tried again, or they were written meanwhile.
 */
public data class SyncReport(val accepted: Long, val parked: Long, val pulled: Long, val stillPending: Long)

internal fun FfiSyncStatus.toPublic(): SyncStatus = SyncStatus(state.toPublic(), firstSync.toPublic())

internal fun FfiSyncReport.toPublic(): SyncReport =
    SyncReport(accepted.toLong(), parked.toLong(), pulled.toLong(), stillPending.toLong())

private fun FfiFirstSync.toPublic(): FirstSync =
    when (this) {
        FfiFirstSync.ABSENT -> FirstSync.ABSENT
        FfiFirstSync.PARTIAL -> FirstSync.PARTIAL
        FfiFirstSync.DONE -> FirstSync.DONE
    }

private fun FfiSyncState.toPublic(): SyncState =
    when (this) {
        is FfiSyncState.Idle -> SyncState.Idle
        is FfiSyncState.Connecting -> SyncState.Connecting
        is FfiSyncState.Pushing -> SyncState.Pushing
        is FfiSyncState.Applying -> SyncState.Applying(done.toLong(), total?.toLong(), rowsPerSecond.toLong())
        is FfiSyncState.WaitingUntil -> SyncState.WaitingUntil(instant(at), why)
        is FfiSyncState.Offline -> SyncState.Offline(retryAt?.let(::instant), why)
        is FfiSyncState.Metered -> SyncState.Metered
        is FfiSyncState.NeedsAuth -> SyncState.NeedsAuth
        is FfiSyncState.UpgradeRequired -> SyncState.UpgradeRequired(why)
        is FfiSyncState.Failed -> SyncState.Failed(why, instant(retryAt))
        is FfiSyncState.UpToDate -> SyncState.UpToDate(instant(since))
        is FfiSyncState.Suspended -> SyncState.Suspended
        is FfiSyncState.Stopped -> SyncState.Stopped
    }

/** From microseconds since 1970. */
internal fun instant(micros: Long): Instant =
    Instant.fromEpochSeconds(Math.floorDiv(micros, 1_000_000L), Math.floorMod(micros, 1_000_000L) * 1_000)
