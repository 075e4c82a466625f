/*
 * The sync status, as values to show. Being offline is one of the states, not an exception.
 */
package dev.rejoin

import kotlin.time.Instant
import dev.rejoin.ffi.DoctorReport as FfiDoctorReport
import dev.rejoin.ffi.FirstSync as FfiFirstSync
import dev.rejoin.ffi.LeftOutPart as FfiLeftOutPart
import dev.rejoin.ffi.SyncReport as FfiSyncReport
import dev.rejoin.ffi.SyncState as FfiSyncState
import dev.rejoin.ffi.SyncStatus as FfiSyncStatus

/**
 * The sync status. Observe it with [RejoinClient.status].
 *
 * @property state the current state.
 * @property firstSync whether the tables have ever been complete.
 * @property leftOut tables of the server, and rules and indexes, that this device has left out of its schema. The others are
 *   synced. A name that the app uses itself is adopted by the next sync after the app drops or renames its own object.
 *   Also the app's triggers that failed on rows of the server, until the app drops or replaces them.
 */
public data class SyncStatus(
    val state: SyncState,
    val firstSync: FirstSync,
    val leftOut: List<LeftOutPart> = emptyList(),
)

/**
 * A table of the server, or a part of one, that this device has left out of its schema.
 *
 * @property table the table.
 * @property part what of it: `table`, or `index NAME`, `CHECK NAME`, `trigger NAME` and the like.
 * @property reason why, and the remedy.
 */
public data class LeftOutPart(val table: String, val part: String, val reason: String)

/** Whether the tables have ever been complete. */
public enum class FirstSync {
    /** No rows have arrived yet. */
    ABSENT,

    /** In progress: the tables hold a part of the rows. */
    PARTIAL,

    /** Done, possibly long ago. */
    DONE,
}

/** What syncing is doing; local work continues in every state except [Suspended]. */
public sealed interface SyncState {
    /** Not started yet. */
    public data object Idle : SyncState

    /** A sync pass has started, or follows [SyncHandle.resume]. */
    public data object Connecting : SyncState

    /** Local mutations are being sent. */
    public data object Pushing : SyncState

    /**
     * Remote rows are being fetched and applied.
     *
     * @property done number of rows applied in this pass.
     * @property total number of rows to apply in all, if the server returned it.
     * @property rowsPerSecond the rate since the pass started.
     */
    public data class Applying(val done: Long, val total: Long?, val rowsPerSecond: Long) : SyncState

    /**
     * The server is temporarily unavailable.
     *
     * @property at the time of the next attempt.
     * @property reason the error of the last attempt.
     */
    public data class WaitingUntil(val at: Instant, val reason: String) : SyncState

    /**
     * No server is reachable.
     *
     * @property retryAt the time of the next attempt; null while the device reports no network.
     * @property reason the error of the last attempt.
     */
    public data class Offline(val retryAt: Instant?, val reason: String) : SyncState

    /** The network is metered, and the policy defers the remaining work. */
    public data object Metered : SyncState

    /** Credentials are missing or rejected; the queue waits for new ones. */
    public data object NeedsAuth : SyncState

    /**
     * The server requires a newer version of the app; the queue waits.
     *
     * @property reason the server's message.
     */
    public data class UpgradeRequired(val reason: String) : SyncState

    /**
     * An error that a quick retry does not fix; it is retried nevertheless.
     *
     * @property reason the error.
     * @property retryAt the time of the next attempt.
     */
    public data class Failed(val reason: String, val retryAt: Instant) : SyncState

    /**
     * The last pass pushed and pulled everything. After [SyncHandle.resume], only a pass that began after it sets this
     * state. Later writes and remote changes wait for the next pass; [SyncHandle.run] waits for one.
     *
     * @property since when the last pass ended.
     */
    public data class UpToDate(val since: Instant) : SyncState

    /** The client is suspended and holds no file, lock or connection. */
    public data object Suspended : SyncState

    /** Syncing was stopped. */
    public data object Stopped : SyncState
}

/**
 * The result of a sync.
 *
 * @property accepted number of mutations that the server accepted.
 * @property parked number of mutations that were parked; [QueueHandle.pending] has the reasons.
 * @property pulled number of rows received.
 * @property stillPending number of mutations without a verdict: the server asked to retry later, or they were written
 *   during the sync.
 */
public data class SyncReport(val accepted: Long, val parked: Long, val pulled: Long, val stillPending: Long)

/**
 * The result of a check of this device's rows against the server's; from [SyncHandle.doctor].
 *
 * @property tables every synced table that the server has, by name.
 */
public data class DoctorReport(val tables: List<TableCheck>)

/**
 * The result of a check for one table.
 *
 * @property table its name.
 * @property rows number of its rows on this device.
 * @property differing number of rows that were wrong here: missing, present without the server having them, or with other
 *   values. Pending edits are not counted.
 * @property repaired how many of these now have the server's content.
 */
public data class TableCheck(val table: String, val rows: Long, val differing: Long, val repaired: Long)

internal fun FfiSyncStatus.toPublic(): SyncStatus =
    SyncStatus(state.toPublic(), firstSync.toPublic(), leftOut.map(FfiLeftOutPart::toPublic))

private fun FfiLeftOutPart.toPublic(): LeftOutPart = LeftOutPart(table, part, reason)

internal fun FfiDoctorReport.toPublic(): DoctorReport =
    DoctorReport(tables.map { TableCheck(it.table, it.rows, it.differing, it.repaired) })

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
        is FfiSyncState.WaitingUntil -> SyncState.WaitingUntil(Instant.fromEpochMilliseconds(atMs), reason)
        is FfiSyncState.Offline -> SyncState.Offline(retryAtMs?.let(Instant::fromEpochMilliseconds), reason)
        is FfiSyncState.Metered -> SyncState.Metered
        is FfiSyncState.NeedsAuth -> SyncState.NeedsAuth
        is FfiSyncState.UpgradeRequired -> SyncState.UpgradeRequired(reason)
        is FfiSyncState.Failed -> SyncState.Failed(reason, Instant.fromEpochMilliseconds(retryAtMs))
        is FfiSyncState.UpToDate -> SyncState.UpToDate(Instant.fromEpochMilliseconds(sinceMs))
        is FfiSyncState.Suspended -> SyncState.Suspended
        is FfiSyncState.Stopped -> SyncState.Stopped
    }
