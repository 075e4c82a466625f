/*
 * What waits for the server, in words that an app can show.
 */
package dev.rejoin

import kotlin.time.Instant
import dev.rejoin.ffi.MutationState as FfiMutationState
import dev.rejoin.ffi.ParkReason as FfiParkReason
import dev.rejoin.ffi.PatchKind as FfiPatchKind
import dev.rejoin.ffi.PendingCounts as FfiPendingCounts
import dev.rejoin.ffi.PendingMutation as FfiPendingMutation
import dev.rejoin.ffi.PendingRow as FfiPendingRow
import dev.rejoin.ffi.RowSyncState as FfiRowSyncState
import dev.rejoin.ffi.Verdict as FfiVerdict

/** Where a local write stands. */
public enum class MutationState {
    /** Waits to be sent. */
    PENDING,

    /** On its way. */
    SENT,

    /** Sent, and no answer came; it will be sent again as it is. */
    UNCERTAIN,

    /** Ended without being accepted; kept with its reason, blocks nothing. */
    PARKED,
}

/** Why a local write is parked. */
public enum class ParkReason {
    /** A rule of the server refuses the content. */
    REJECTED,

    /** A row has changed since. */
    CONFLICTED,

    /** The server will not look at it. */
    REFUSED,

    /** An action cannot run again. */
    UNREPLAYABLE,

    /** Something that it stands on was parked. */
    DEPENDS,

    /** What is left of one that was accepted in part. */
    REMAINDER,

    /** The server has failed on it too often, or for too long. */
    SERVER_FAULT,
}

/** What was done to a row. */
public enum class PatchKind {
    /** It was made. */
    INSERT,

    /** Columns were changed. */
    UPDATE,

    /** It was removed. */
    DELETE,
}

/** What an app can show beside a row. */
public enum class RowSyncState {
    /** Nothing of this device waits on it. */
    SYNCED,

    /** An edit waits to be sent. */
    PENDING,

    /** An edit is on its way. */
    SENT,

    /** An edit was sent and no answer came; it will be sent again. */
    UNCERTAIN,

    /** An edit was not accepted, and the app has not decided yet what becomes of it. */
    PARKED,
}

/**
 * What a local write did to a column. Values are null, [Long], [Double], [String] or [ByteArray].
 *
 * @property name the column's name.
 * @property oldValue what stood there; null in an insert.
 * @property newValue what was written; null in a delete.
 */
public data class PendingColumn(val name: String, val oldValue: Any?, val newValue: Any?)

/**
 * What a local write did to a row.
 *
 * @property table the table's name.
 * @property key the row's key, as [PendingColumn]'s values.
 * @property operation what was done.
 * @property columns all columns for an insert or a delete, the changed ones for an update.
 */
public data class PendingRow(val table: String, val key: Any?, val operation: PatchKind, val columns: List<PendingColumn>)

/**
 * A local write that the server has not accepted: one transaction of the app.
 *
 * @property seq its place in the queue; rises.
 * @property id its name, here and on the server.
 * @property state where it stands.
 * @property reason why it is parked, if it is.
 * @property detail the server's words, and both rows of a conflict, as JSON.
 * @property becauseOf the parked one that it stands on, if that is why it is parked.
 * @property blockedBy while it waits: the earlier one that must be accepted before it and that the server fails on at present.
 * @property action the action's name; null for plain SQL.
 * @property written when it was written.
 * @property attempt the number of its attempt, from 1; rises when its content is offered anew after a verdict.
 * @property rows what it wrote, a row each, in the order of first touch.
 */
public data class PendingMutation(
    val seq: Long,
    val id: String,
    val state: MutationState,
    val reason: ParkReason?,
    val detail: String?,
    val becauseOf: String?,
    val blockedBy: String?,
    val action: String?,
    val written: Instant,
    val attempt: Long,
    val rows: List<PendingRow>,
)

/**
 * How many local writes stand where.
 *
 * @property pending waiting to be sent.
 * @property sent on their way.
 * @property uncertain sent, without an answer.
 * @property parked not accepted; the app's to decide.
 */
public data class PendingCounts(val pending: Long, val sent: Long, val uncertain: Long, val parked: Long)

/** How a local write ended. */
public sealed interface Verdict {
    /** The server has it, and the rows show it. */
    public data object Accepted : Verdict

    /**
     * It was not accepted; it is kept with its reason, and blocks nothing.
     *
     * @property reason why.
     * @property detail the server's words, and both rows of a conflict, as JSON.
     */
    public data class Parked(val reason: ParkReason?, val detail: String?) : Verdict

    /** It is neither waiting nor known as accepted: discarded, or never written here. */
    public data object Unknown : Verdict
}

internal fun FfiPendingMutation.toPublic(): PendingMutation =
    PendingMutation(
        seq = seq,
        id = id,
        state = state.toPublic(),
        reason = reason?.toPublic(),
        detail = detail,
        becauseOf = becauseOf,
        blockedBy = blockedBy,
        action = action,
        written = Instant.fromEpochMilliseconds(writtenMs),
        attempt = attempt,
        rows = rows.map { it.toPublic() },
    )

internal fun FfiPendingRow.toPublic(): PendingRow {
    val columns = columns.map { PendingColumn(it.name, it.oldValue.toKotlin(), it.newValue.toKotlin()) }
    return PendingRow(table, key.toKotlin(), operation.toPublic(), columns)
}

internal fun FfiPendingCounts.toPublic(): PendingCounts =
    PendingCounts(pending.toLong(), sent.toLong(), uncertain.toLong(), parked.toLong())

internal fun FfiRowSyncState.toPublic(): RowSyncState =
    when (this) {
        FfiRowSyncState.SYNCED -> RowSyncState.SYNCED
        FfiRowSyncState.PENDING -> RowSyncState.PENDING
        FfiRowSyncState.SENT -> RowSyncState.SENT
        FfiRowSyncState.UNCERTAIN -> RowSyncState.UNCERTAIN
        FfiRowSyncState.PARKED -> RowSyncState.PARKED
    }

internal fun FfiVerdict.toPublic(): Verdict =
    when (this) {
        is FfiVerdict.Accepted -> Verdict.Accepted
        is FfiVerdict.Parked -> Verdict.Parked(reason?.toPublic(), detail)
        is FfiVerdict.Unknown -> Verdict.Unknown
    }

private fun FfiMutationState.toPublic(): MutationState =
    when (this) {
        FfiMutationState.PENDING -> MutationState.PENDING
        FfiMutationState.SENT -> MutationState.SENT
        FfiMutationState.UNCERTAIN -> MutationState.UNCERTAIN
        FfiMutationState.PARKED -> MutationState.PARKED
    }

internal fun FfiParkReason.toPublic(): ParkReason =
    when (this) {
        FfiParkReason.REJECTED -> ParkReason.REJECTED
        FfiParkReason.CONFLICTED -> ParkReason.CONFLICTED
        FfiParkReason.REFUSED -> ParkReason.REFUSED
        FfiParkReason.UNREPLAYABLE -> ParkReason.UNREPLAYABLE
        FfiParkReason.DEPENDS -> ParkReason.DEPENDS
        FfiParkReason.REMAINDER -> ParkReason.REMAINDER
        FfiParkReason.SERVER_FAULT -> ParkReason.SERVER_FAULT
    }

private fun FfiPatchKind.toPublic(): PatchKind =
    when (this) {
        FfiPatchKind.INSERT -> PatchKind.INSERT
        FfiPatchKind.UPDATE -> PatchKind.UPDATE
        FfiPatchKind.DELETE -> PatchKind.DELETE
    }
