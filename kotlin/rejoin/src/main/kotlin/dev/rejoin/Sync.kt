/*
 * Syncing, as far as the app steers it, and what waits for the server.
 */
package dev.rejoin

import kotlin.time.Duration
import dev.rejoin.ffi.CheckpointMode as FfiCheckpointMode

/**
 * Begins to sync in the background: at once, then when something was written, when the server has news, and at each interval.
 *
 * Offline is a status, no exception. Starting twice is no error.
 *
 * @throws RejoinException.InvalidInput without a configured server.
 */
public suspend fun RejoinClient.start(): Unit = writing { ffi.start() }

/** Ends syncing; local work goes on, and what is written waits. Stopping twice is no error. */
public suspend fun RejoinClient.stop(): Unit = writing { ffi.stop() }

/** Syncs now, whatever the metered policy says; how it went stands in the status. Starts syncing if it was not started. */
public suspend fun RejoinClient.syncNow(): Unit = writing { ffi.syncNow() }

/**
 * Pushes and pulls everything, and waits for it: then what was pending at the call has its verdict, and what the server had is
 * here. Starts syncing if it was not started.
 *
 * A parked mutation is no exception: the report counts it.
 *
 * @param timeout how long to wait; zero does not wait, a part of a millisecond counts as a whole one.
 * @throws RejoinException.Offline after one attempt without a server, and after [timeout], if one is given: the work goes on in
 *   the background.
 * @throws RejoinException.InvalidInput if [timeout] is below zero.
 */
public suspend fun RejoinClient.syncAndWait(timeout: Duration? = null): SyncReport =
    writing { ffi.syncAndWait(timeout.toTimeout()) }.toPublic()

/**
 * Waits until everything has been here once; returns at once if it has. Starts syncing if it was not started.
 *
 * @throws RejoinException.Offline after [timeout]; without one it waits for a network.
 * @throws RejoinException.InvalidInput if [timeout] is below zero.
 */
public suspend fun RejoinClient.waitForFirstSync(timeout: Duration? = null): Unit =
    writing { ffi.waitForFirstSync(timeout.toTimeout()) }

/**
 * Tells what the device knows of its network: whether there is one, and whether its use costs money. Going online asks for a
 * sync.
 */
public fun RejoinClient.setNetwork(online: Boolean, metered: Boolean = false): Unit =
    translated { ffi.setNetwork(online, metered) }

/** Tells that the app came to the foreground: a sync now, unless the server asked to be left alone. */
public fun RejoinClient.foreground(): Unit = translated { ffi.foreground() }

/** Tells that the token provider has other credentials than before: whoever needed them tries again. */
public suspend fun RejoinClient.credentialsChanged(): Unit = writing { ffi.credentialsChanged() }

/**
 * Everything that the server has not accepted, in the order in which it was written.
 *
 * Works offline, and tells what is in the file: nothing is missing after a crash.
 */
public suspend fun RejoinClient.pending(): List<PendingMutation> = writing { ffi.pending() }.map { it.toPublic() }

/** How many local writes stand where; cheap. */
public suspend fun RejoinClient.pendingCounts(): PendingCounts = writing { ffi.pendingCounts() }.toPublic()

/**
 * What an app can show beside a row. For a whole list use the SQL function `rejoin_row_state('table', id)` in the query.
 *
 * @param key the row's key, of a type that SQLite can hold (see [Statement]).
 * @throws RejoinException.InvalidInput if the table is not synced.
 */
public suspend fun RejoinClient.rowSyncState(table: String, key: Any): RowSyncState =
    writing { ffi.rowSyncState(table, key.toSql { "key" }) }.toPublic()

/**
 * Gives a waiting or parked write up for good: what it wrote leaves the rows. One that was sent and has no verdict goes too, and is
 * withdrawn from the server. What stands on a row that it made is parked. Works offline.
 *
 * @param id the mutation's name, from [pending].
 * @throws RejoinException.InvalidInput if there is none of this name, and for one that was sent and has no verdict where the server is
 *   of an older release, which cannot take it back: nothing was changed then.
 */
public suspend fun RejoinClient.discard(id: String): Unit = writing { ffi.discard(id) }

/**
 * Waits until the server's verdict on a write of [pending] is here, and visible. Starts syncing if it was not started.
 *
 * @param id the mutation's name, from [pending].
 * @throws RejoinException.Offline after [timeout]; without one it waits for a network. The write stays where it is.
 * @throws RejoinException.InvalidInput if [timeout] is below zero.
 */
public suspend fun RejoinClient.verdict(id: String, timeout: Duration? = null): Verdict =
    writing { ffi.verdict(id, timeout.toTimeout()) }.toPublic()

/** How far a checkpoint of the write-ahead log goes. */
public enum class CheckpointMode {
    /** As much as is possible without being in anybody's way. */
    PASSIVE,

    /** All of the log, if no reader needs it. */
    FULL,

    /** As full; the next write begins the log anew. */
    RESTART,

    /** As restart; the log's file becomes empty. */
    TRUNCATE,
}

/**
 * What a checkpoint did.
 *
 * @property busy whether a reader or writer kept it from finishing; try again later.
 * @property pages pages in the log.
 * @property moved pages of it that are in the file.
 */
public data class Checkpointed(val busy: Boolean, val pages: Long, val moved: Long)

/**
 * Moves the write-ahead log into the file: for the moment before a copy of the file is made. The client does so itself when the
 * log has grown. Somebody in the way is no exception; the result says so.
 */
public suspend fun RejoinClient.checkpoint(mode: CheckpointMode): Checkpointed {
    val asked =
        when (mode) {
            CheckpointMode.PASSIVE -> FfiCheckpointMode.PASSIVE
            CheckpointMode.FULL -> FfiCheckpointMode.FULL
            CheckpointMode.RESTART -> FfiCheckpointMode.RESTART
            CheckpointMode.TRUNCATE -> FfiCheckpointMode.TRUNCATE
        }
    return writing { ffi.checkpoint(asked) }.let { Checkpointed(it.busy, it.pages, it.moved) }
}
