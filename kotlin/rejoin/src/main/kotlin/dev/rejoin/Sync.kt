/*
 * Controls syncing, and lists what waits for the server.
 */
package dev.rejoin

import kotlin.time.Duration
import dev.rejoin.ffi.CheckpointMode as FfiCheckpointMode

/**
 * Starts syncing in the background: at once, then after writes, when the server has changes, and at each interval.
 *
 * Being offline is a status, not an exception. Starting twice has no effect.
 *
 * @throws RejoinException.InvalidInput without a configured server.
 */
public suspend fun RejoinClient.start(): Unit = writing { ffi.start() }

/** Stops syncing; local work continues and writes wait. Stopping twice has no effect. */
public suspend fun RejoinClient.stop(): Unit = writing { ffi.stop() }

/** Syncs now, regardless of the metered policy; the status reports the result. Starts syncing if it is stopped. */
public suspend fun RejoinClient.syncNow(): Unit = writing { ffi.syncNow() }

/**
 * Pushes and pulls everything and waits: afterwards each mutation pending at the call has its verdict, and all changes of
 * the server are applied. Starts syncing if it is stopped.
 *
 * A parked mutation is not an exception: the report counts it.
 *
 * @param timeout how long to wait, rounded up to whole milliseconds; zero does not wait.
 * @throws RejoinException.Offline after one attempt without a server, and after [timeout]; the work continues in the
 *   background.
 * @throws RejoinException.InvalidInput if [timeout] is negative.
 */
public suspend fun RejoinClient.syncAndWait(timeout: Duration? = null): SyncReport =
    writing { ffi.syncAndWait(timeout.toTimeout()) }.toPublic()

/**
 * Waits until the first sync is complete; returns at once if it is. Starts syncing if it is stopped.
 *
 * @throws RejoinException.Offline after [timeout]; without a timeout it waits for a network.
 * @throws RejoinException.InvalidInput if [timeout] is negative.
 */
public suspend fun RejoinClient.waitForFirstSync(timeout: Duration? = null): Unit =
    writing { ffi.waitForFirstSync(timeout.toTimeout()) }

/**
 * Reports the state of the network: whether there is one, and whether it is metered. Going online triggers a sync.
 */
public fun RejoinClient.setNetwork(online: Boolean, metered: Boolean = false): Unit =
    translated { ffi.setNetwork(online, metered) }

/** Reports that the app came to the foreground. Triggers a sync, unless the server asked to wait. */
public fun RejoinClient.foreground(): Unit = translated { ffi.foreground() }

/** Reports that the token provider has new credentials; requests that failed without them are retried. */
public suspend fun RejoinClient.credentialsChanged(): Unit = writing { ffi.credentialsChanged() }

/**
 * Returns all mutations that the server has not accepted, in the order in which they were written.
 *
 * Works offline and reads from the file, so the list is complete after a crash.
 */
public suspend fun RejoinClient.pending(): List<PendingMutation> = writing { ffi.pending() }.map { it.toPublic() }

/** Returns the number of mutations in each state; cheap. */
public suspend fun RejoinClient.pendingCounts(): PendingCounts = writing { ffi.pendingCounts() }.toPublic()

/**
 * Returns the sync state of a row. For a list use the SQL function `rejoin_row_state('table', id)` in the query.
 *
 * @param key the row's key, of a type that SQLite can store (see [Statement]).
 * @throws RejoinException.InvalidInput if the table is not synced.
 */
public suspend fun RejoinClient.rowSyncState(table: String, key: Any): RowSyncState =
    writing { ffi.rowSyncState(table, key.toSql { "key" }) }.toPublic()

/**
 * Discards a waiting or parked mutation: its writes are removed from the rows. If it was sent and has no verdict, it is
 * also withdrawn from the server. Mutations that depend on a row that it created are parked. Works offline.
 *
 * @param id the mutation's id, from [pending].
 * @throws RejoinException.InvalidInput if there is no mutation with this id, or it was sent, has no verdict, and the
 *   server's version cannot withdraw it; nothing was changed.
 */
public suspend fun RejoinClient.discard(id: String): Unit = writing { ffi.discard(id) }

/**
 * Waits until the server's verdict on a mutation of [pending] has arrived and is visible. Starts syncing if it is
 * stopped.
 *
 * @param id the mutation's id, from [pending].
 * @throws RejoinException.Offline after [timeout]; without a timeout it waits for a network. The mutation keeps its
 *   state.
 * @throws RejoinException.InvalidInput if [timeout] is negative.
 */
public suspend fun RejoinClient.verdict(id: String, timeout: Duration? = null): Verdict =
    writing { ffi.verdict(id, timeout.toTimeout()) }.toPublic()

/** The checkpoint modes of SQLite's write-ahead log. */
public enum class CheckpointMode {
    /** Checkpoints as much as possible without blocking readers or writers. */
    PASSIVE,

    /** Checkpoints the whole log, if no reader needs it. */
    FULL,

    /** As full; the next write starts the log from its beginning. */
    RESTART,

    /** As restart; the log file is truncated to zero bytes. */
    TRUNCATE,
}

/**
 * The result of a checkpoint.
 *
 * @property busy whether a reader or writer prevented it from finishing; try again later.
 * @property pages number of pages in the log.
 * @property moved number of pages written to the database file.
 */
public data class Checkpointed(val busy: Boolean, val pages: Long, val moved: Long)

/**
 * Writes the write-ahead log to the database file, for example before copying the file. The client also does so when the
 * log has grown. A blocked checkpoint is not an exception; see [Checkpointed.busy].
 */
public suspend fun RejoinClient.checkpoint(mode: CheckpointMode): Checkpointed {
    val ffiMode =
        when (mode) {
            CheckpointMode.PASSIVE -> FfiCheckpointMode.PASSIVE
            CheckpointMode.FULL -> FfiCheckpointMode.FULL
            CheckpointMode.RESTART -> FfiCheckpointMode.RESTART
            CheckpointMode.TRUNCATE -> FfiCheckpointMode.TRUNCATE
        }
    return writing { ffi.checkpoint(ffiMode) }.let { Checkpointed(it.busy, it.pages, it.moved) }
}
