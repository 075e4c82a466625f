/*
 * The database file: checkpoint, reset, import of a Synchro file, and facts for a bug report. Import.kt has the values of
 * an import. docs/identity.md says when to reset a file and what the alternatives are.
 */
package dev.rejoin

import dev.rejoin.ffi.CheckpointMode as FfiCheckpointMode
import dev.rejoin.ffi.Keep as FfiKeep

/** The database file: checkpoint, reset, import, diagnosis. From [RejoinClient.storage]. */
public class StorageHandle internal constructor(private val client: RejoinClient) {
    /**
     * Writes the write-ahead log to the database file, for example before copying the file. The client also does so when
     * the log has grown. A blocked checkpoint is not an exception; see [Checkpointed.busy].
     */
    public suspend fun checkpoint(mode: CheckpointMode): Checkpointed =
        client.writing { it.checkpoint(mode.toFfi()) }.let { Checkpointed(it.busy, it.pages, it.moved) }

    /**
     * Resets the file; [keep] says what stays. The tables themselves stay, and watches continue.
     *
     * Waiting mutations are the user's work and are deleted only if they are named. The reset is one transaction, also
     * across a crash, and works offline. If syncing is on, the current pass ends and the next one asks the token provider
     * again: sign the next user in first.
     *
     * @param giveUp the ids of all mutations of [QueueHandle.all], parked ones included; none if the queue stays.
     * @throws RejoinException.Unsent if a waiting mutation is not named; nothing was changed.
     * @throws RejoinException.InvalidInput if mutations are named and the queue stays; nothing was changed.
     */
    public suspend fun reset(keep: Keep, giveUp: Collection<String> = emptyList()): ResetReport {
        val done = client.writing { it.reset(keep.toFfi(), giveUp.toList()) }
        return ResetReport(done.givenUp.map { it.toPublic() }, done.rows, done.localRows)
    }

    /**
     * Empties the file for the next user of the device: [reset] that keeps the local-only tables.
     *
     * ```kotlin
     * val waiting = client.queue.all()
     * if (user.gives(up = waiting)) client.storage.clearForNextUser(discarding = waiting.map { it.id })
     * ```
     *
     * @param discarding the ids of all mutations of [QueueHandle.all], parked ones included.
     * @throws RejoinException.Unsent if a waiting mutation is not named; nothing was changed.
     */
    public suspend fun clearForNextUser(discarding: Collection<String> = emptyList()): ResetReport =
        reset(Keep.LOCAL, discarding)

    /**
     * Imports an app's old Synchro database. Its unsent changes are queued, and its rows are visible until the first
     * sync replaces them.
     *
     * The old file is copied and not modified; no other connection may have it open. The import is one transaction. A
     * repeated call imports only what is new. Works offline with a bundled schema.
     *
     * @param old the path of the old file; its write-ahead log is expected next to it.
     * @throws RejoinException.InvalidInput if the file is not a Synchro database, or no schema is available yet.
     * @throws RejoinException.Storage if the file is damaged or cannot be copied; nothing was imported.
     */
    public suspend fun importSynchro(old: String): SynchroImport = client.writing { it.importSynchro(old).toPublic() }

    /**
     * Returns a JSON bundle for a bug report: versions, configuration, pending mutations with their reasons, schema
     * and sizes. It contains no row data and no credentials.
     */
    public suspend fun diagnose(): String = client.writing { it.diagnose() }
}

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

/** What a reset keeps. */
public enum class Keep {
    /**
     * Keeps the queue, the history, the user and local-only tables. Synced rows are deleted, and the next sync fetches
     * them again.
     */
    PENDING,

    /**
     * Keeps local-only tables. Rows, queue, history, device id and user are deleted, so that the next user can use the
     * file.
     */
    LOCAL,

    /** Keeps only the schema; all tables are emptied. */
    NOTHING,
}

/**
 * What a reset deleted.
 *
 * @property givenUp the discarded waiting and parked mutations, with all values that they wrote.
 * @property rows number of deleted rows of synced tables, pending changes included.
 * @property localRows number of deleted rows of local-only tables.
 */
public data class ResetReport(val givenUp: List<PendingMutation>, val rows: Long, val localRows: Long)

private fun CheckpointMode.toFfi(): FfiCheckpointMode =
    when (this) {
        CheckpointMode.PASSIVE -> FfiCheckpointMode.PASSIVE
        CheckpointMode.FULL -> FfiCheckpointMode.FULL
        CheckpointMode.RESTART -> FfiCheckpointMode.RESTART
        CheckpointMode.TRUNCATE -> FfiCheckpointMode.TRUNCATE
    }

private fun Keep.toFfi(): FfiKeep =
    when (this) {
        Keep.PENDING -> FfiKeep.PENDING
        Keep.LOCAL -> FfiKeep.LOCAL
        Keep.NOTHING -> FfiKeep.NOTHING
    }
