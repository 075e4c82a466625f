/*
 * What the server has accepted: to show it, to take it back, and to forget it.
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
 * @property seq its place in the queue, when it was there.
 * @property id its name, here and on the server.
 * @property action the action's name; null for plain SQL.
 * @property written when it was written.
 * @property accepted when its verdict came.
 * @property attempt the number of the attempt that was accepted, from 1.
 * @property undoes the mutation that it takes back, by undo or redo.
 * @property rows what it did, a row each; the old values are those that it displaced on the server.
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

/** What became of an undo or a redo. */
public sealed interface Undone {
    /** The mutation had no verdict yet: it was given up, as by [discard]. */
    public data object GivenUp : Undone

    /**
     * A mutation takes it back; it waits to be sent like any other.
     *
     * @property id that mutation.
     */
    public data class By(val id: String) : Undone

    /** There was nothing to take back: the server's rows were so already before it. */
    public data object Nothing : Undone
}

/**
 * How much of what was accepted is kept.
 *
 * @property count most mutations. Default 1,000.
 * @property bytes most bytes of what they wrote. Default 16 MiB.
 * @property age how long, from the verdict on; a part of a second counts as a whole one. Default thirty days.
 */
public data class HistoryBounds(val count: Int? = null, val bytes: Int? = null, val age: Duration? = null)

/**
 * What the server has accepted and the file still remembers, the newest first, at most [most].
 *
 * @throws RejoinException.InvalidInput if [most] is below zero.
 */
public suspend fun RejoinClient.history(most: Int): List<AcceptedMutation> =
    writing { ffi.history(most.toMost()) }.map { it.toPublic() }

/**
 * Takes a mutation back. One without a verdict is given up, as by [discard]; of an accepted one each column goes back to what it
 * displaced on the server, by a new mutation, which is only ever compared. Works offline. All of it, or nothing.
 *
 * @throws RejoinException.Changed with the rows if any of it does not stand any more; nothing was changed.
 * @throws RejoinException.InvalidInput if the file has forgotten it, and for a parked one, of which nothing is in the rows.
 */
public suspend fun RejoinClient.undo(id: String): Undone = writing { ffi.undo(id) }.toPublic()

/**
 * Takes the undo of a mutation back.
 *
 * @param id the one that was undone.
 * @throws RejoinException.InvalidInput if it was not undone, or is done again already.
 * @throws RejoinException.Changed as [undo].
 */
public suspend fun RejoinClient.redo(id: String): Undone = writing { ffi.redo(id) }.toPublic()

/**
 * Forgets what was accepted beyond these bounds, at once; tells how many mutations. They cannot be undone any more. Without a call
 * the default bounds are kept whenever something is accepted.
 *
 * @throws RejoinException.InvalidInput if a bound is below zero.
 */
public suspend fun RejoinClient.prune(bounds: HistoryBounds): Long {
    val asked = bounds.toFfi()
    return writing { ffi.prune(asked) }.toLong()
}

private fun HistoryBounds.toFfi(): FfiHistoryBounds {
    val whole = age?.let { if (it.isInfinite() || it == it.inWholeSeconds.seconds) it.inWholeSeconds else it.inWholeSeconds + 1 }

    fun fitting(bound: String, given: Any?, isNegative: Boolean, number: Long?): UInt? {
        if (isNegative) throw RejoinException.InvalidInput("a bound of the history, $bound: $given is below zero")
        return number?.coerceAtMost(UInt.MAX_VALUE.toLong())?.toUInt()
    }
    return FfiHistoryBounds(
        count = fitting("count", count, (count ?: 0) < 0, count?.toLong()),
        bytes = fitting("bytes", bytes, (bytes ?: 0) < 0, bytes?.toLong()),
        ageSeconds = fitting("age", age, age?.isNegative() == true, whole),
    )
}

private fun FfiUndone.toPublic(): Undone =
    when (this) {
        is FfiUndone.GivenUp -> Undone.GivenUp
        is FfiUndone.By -> Undone.By(id)
        is FfiUndone.Nothing -> Undone.Nothing
    }

private fun FfiAcceptedMutation.toPublic(): AcceptedMutation =
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
