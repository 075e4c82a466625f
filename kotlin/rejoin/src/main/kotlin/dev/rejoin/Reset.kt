/*
 * Resets a file; docs/identity.md says when to use it and what the alternatives are.
 */
package dev.rejoin

import dev.rejoin.ffi.Keep as FfiKeep

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

/**
 * Resets the file; [keep] says what stays. The tables themselves stay, and watches continue.
 *
 * Waiting mutations are the user's work and are deleted only if they are named. The reset is one transaction, also across
 * a crash, and works offline. If syncing is on, the current pass ends and the next one asks the token provider again:
 * sign the next user in first.
 *
 * ```kotlin
 * val waiting = client.pending()
 * if (user.gives(up = waiting)) client.reset(Keep.LOCAL, giveUp = waiting.map { it.id })
 * ```
 *
 * @param giveUp the ids of all mutations of [pending], parked ones included; none if the queue stays.
 * @throws RejoinException.Unsent if a waiting mutation is not named; nothing was changed.
 * @throws RejoinException.InvalidInput if mutations are named and the queue stays; nothing was changed.
 */
public suspend fun RejoinClient.reset(keep: Keep, giveUp: Collection<String> = emptyList()): ResetReport {
    val ffiKeep =
        when (keep) {
            Keep.PENDING -> FfiKeep.PENDING
            Keep.LOCAL -> FfiKeep.LOCAL
            Keep.NOTHING -> FfiKeep.NOTHING
        }
    val done = writing { ffi.reset(ffiKeep, giveUp.toList()) }
    return ResetReport(done.givenUp.map { it.toPublic() }, done.rows, done.localRows)
}
