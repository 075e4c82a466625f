/*
 * Beginning anew in the same file; when to do it, and what else there is, stands in docs/identity.md.
 */
package dev.rejoin

import dev.rejoin.ffi.Keep as FfiKeep

/** What stays in the file when it begins anew. */
public enum class Keep {
    /**
     * Everything that is not the server's: what waits, the history, the user, local-only tables. The rows of the server go, and the
     * next sync fetches them as the first one did.
     */
    PENDING,

    /** Local-only tables. Rows, queue, history, the device's id and its user go: the file is the next user's to take. */
    LOCAL,

    /** The tables, all of them empty, and their schema. */
    NOTHING,
}

/**
 * What a reset took away, for whoever has to show it or to keep it elsewhere.
 *
 * @property givenUp what waited for the server or was parked, and went: all that the app had named, with every value that was
 *   written.
 * @property rows rows of synced tables that went, with what waited on them.
 * @property localRows rows of local-only tables that went.
 */
public data class ResetReport(val givenUp: List<PendingMutation>, val rows: Long, val localRows: Long)

/**
 * Begins anew in the same file: [keep] says what stays; the tables do in any case, and watches go on over them.
 *
 * What waits for the server is the user's work, and goes only by name. One transaction, also before a crash; works offline. If
 * syncing is on, its pass ends, and the next one begins with what the token provider then gives: sign the next user in before.
 *
 * ```kotlin
 * val waiting = client.pending()
 * if (user.gives(up = waiting)) client.reset(Keep.LOCAL, giveUp = waiting.map { it.id })
 * ```
 *
 * @param giveUp every mutation of [pending], parked ones too; none if the queue stays.
 * @throws RejoinException.Unsent if something waits that is not named; nothing was changed.
 * @throws RejoinException.InvalidInput if something is named and the queue stays; nothing was changed.
 */
public suspend fun RejoinClient.reset(keep: Keep, giveUp: Collection<String> = emptyList()): ResetReport {
    val asked =
        when (keep) {
            Keep.PENDING -> FfiKeep.PENDING
            Keep.LOCAL -> FfiKeep.LOCAL
            Keep.NOTHING -> FfiKeep.NOTHING
        }
    val done = writing { ffi.reset(asked, giveUp.toList()) }
    return ResetReport(done.givenUp.map { it.toPublic() }, done.rows, done.localRows)
}
