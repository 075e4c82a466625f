/*
 * The accepted mutations, as values that an app can show, and the limits of their history. Queue.kt has the calls.
 */
package dev.rejoin

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.Instant
import dev.rejoin.ffi.AcceptedMutation as FfiAcceptedMutation
import dev.rejoin.ffi.HistoryBounds as FfiHistoryBounds
import dev.rejoin.ffi.Undone as FfiUndone

/**
 * A mutation that the server has accepted.
 *
 * @property seq its former position in the queue; 0 for an entry of the log.
 * @property id its id, here and on the server.
 * @property action the action's name; null for plain SQL.
 * @property written when it was written.
 * @property accepted when its verdict arrived. For an entry of the log whose verdict the app has
 *   acknowledged: when it was written.
 * @property attempt the number of the accepted attempt, from 1.
 * @property undoes the mutation that this one reverts, if it is an undo or a redo.
 * @property rows its changes, one entry per row; old values are the server's values that it replaced.
 */
public data class AcceptedMutation(
    val seq: Long,
    val id: String,
    val action: String?,
    val written: Instant,
    val accepted: Instant,
    val attempt: Long,
    val undoes: String?,
    val rows: List<PendingRow>,
)

/** The result of an undo or a redo. */
public sealed interface Undone {
    /** The mutation had no verdict yet and was discarded, as by [QueueHandle.discard]. */
    public data object GivenUp : Undone

    /**
     * A new mutation reverts it and waits to be sent.
     *
     * @property id the new mutation.
     */
    public data class NewMutation(val id: String) : Undone

    /** Nothing to revert: the server's rows already had these values before. */
    public data object Nothing : Undone
}

/**
 * Limits of the history.
 *
 * @property count maximum number of mutations. Default 1,000.
 * @property bytes maximum size of their writes. Default 16 MiB.
 * @property age maximum age since the verdict, rounded up to whole seconds. Default 30 days.
 */
public data class HistoryBounds(val count: Int? = null, val bytes: Int? = null, val age: Duration? = null)

internal fun HistoryBounds.toFfi(): FfiHistoryBounds {
    val whole = age?.let { if (it.isInfinite() || it == it.inWholeSeconds.seconds) it.inWholeSeconds else it.inWholeSeconds + 1 }

    fun checked(bound: String, given: Any?, isNegative: Boolean, number: Long?): UInt? {
        if (isNegative) throw RejoinException.InvalidInput("history limit $bound: $given is negative")
        return number?.coerceAtMost(UInt.MAX_VALUE.toLong())?.toUInt()
    }
    return FfiHistoryBounds(
        count = checked("count", count, (count ?: 0) < 0, count?.toLong()),
        bytes = checked("bytes", bytes, (bytes ?: 0) < 0, bytes?.toLong()),
        ageSeconds = checked("age", age, age?.isNegative() == true, whole),
    )
}

internal fun FfiUndone.toPublic(): Undone =
    when (this) {
        is FfiUndone.GivenUp -> Undone.GivenUp
        is FfiUndone.NewMutation -> Undone.NewMutation(id)
        is FfiUndone.Nothing -> Undone.Nothing
    }

internal fun FfiAcceptedMutation.toPublic(): AcceptedMutation =
    AcceptedMutation(
        seq = seq,
        id = id,
        action = action,
        written = Instant.fromEpochMilliseconds(writtenMs),
        accepted = Instant.fromEpochMilliseconds(acceptedMs),
        attempt = attempt,
        undoes = undoes,
        rows = rows.map { it.toPublic() },
    )
