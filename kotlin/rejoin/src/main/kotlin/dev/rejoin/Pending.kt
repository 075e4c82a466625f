/*
 * The mutations that wait for the server, as values that an app can show. Queue.kt has the calls.
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

/** The state of a local mutation. */
public enum class MutationState {
    /** Waiting to be sent. */
    PENDING,

    /** Being sent. */
    SENT,

    /** Sent without a response; it is sent again unchanged. */
    UNCERTAIN,

    /** Not accepted; kept with its reason until the app decides. Blocks nothing. */
    PARKED,
}

/** Why a mutation is parked. */
public enum class ParkReason {
    /** The server rejected the content because of a rule. */
    REJECTED,

    /** The server's row changed after the edit. */
    CONFLICTED,

    /** The server refused to evaluate it. */
    REFUSED,

    /** The action cannot run again. */
    UNREPLAYABLE,

    /** A mutation that it depends on was parked. */
    DEPENDS,

    /** The remainder of a partly accepted mutation. */
    PARTLY_ACCEPTED,

    /** The server failed on it too often or for too long. */
    SERVER_FAULT,
}

/** The kind of a change to a row. */
public enum class PatchKind {
    /** The row was inserted. */
    INSERT,

    /** Columns were updated. */
    UPDATE,

    /** The row was deleted. */
    DELETE,
}

/** The sync state of a row, to show beside it. */
public enum class RowSyncState {
    /** No local edit is waiting. */
    SYNCED,

    /** An edit waits to be sent. */
    PENDING,

    /** An edit is being sent. */
    SENT,

    /** An edit was sent without a response; it is sent again. */
    UNCERTAIN,

    /** An edit was not accepted and waits for the app's decision. */
    PARKED,
}

/**
 * A local change to a column. Values are null, [Long], [Double], [String] or [ByteArray].
 *
 * @property name the column's name.
 * @property oldValue the value before; null for an insert.
 * @property newValue the value written; null for a delete.
 */
public data class PendingColumn(val name: String, val oldValue: Any?, val newValue: Any?)

/**
 * A local change to a row.
 *
 * @property table the table's name.
 * @property key the row's key, with a value as in [PendingColumn].
 * @property operation the kind of change.
 * @property columns all columns for an insert or a delete, the changed ones for an update.
 */
public data class PendingRow(val table: String, val key: Any?, val operation: PatchKind, val columns: List<PendingColumn>)

/**
 * A mutation that the server has not accepted: one transaction of the app.
 *
 * @property seq its position in the queue, ascending.
 * @property id its id, here and on the server.
 * @property state its state.
 * @property reason why it is parked, if it is.
 * @property detail the server's message and, for a conflict, both versions of each row.
 * @property becauseOf the parked mutation that it depends on, if that is why it is parked.
 * @property blockedBy while it waits: the earlier mutation that it depends on and that the server currently fails on.
 * @property action the action's name; null for plain SQL.
 * @property written when it was written.
 * @property attempt the number of the attempt, from 1; increases when it is offered again after a verdict.
 * @property rows its changes, one entry per row, in the order of first change.
 */
public data class PendingMutation(
    val seq: Long,
    val id: String,
    val state: MutationState,
    val reason: ParkReason?,
    val detail: VerdictDetail?,
    val becauseOf: String?,
    val blockedBy: String?,
    val action: String?,
    val written: Instant,
    val attempt: Long,
    val rows: List<PendingRow>,
)

/**
 * The number of mutations in each state.
 *
 * @property pending waiting to be sent.
 * @property sent being sent.
 * @property uncertain sent without a response.
 * @property parked not accepted, waiting for the app's decision.
 */
public data class PendingCounts(val pending: Long, val sent: Long, val uncertain: Long, val parked: Long)

/** The server's final answer on a mutation. */
public sealed interface Verdict {
    /** The server accepted it, and the rows show it. */
    public data object Accepted : Verdict

    /**
     * It was not accepted; it is kept with its reason and blocks nothing.
     *
     * @property reason why it is parked.
     * @property detail the server's message and, for a conflict, both versions of each row.
     */
    public data class Parked(val reason: ParkReason?, val detail: VerdictDetail?) : Verdict

    /** Neither waiting nor in the history: discarded, or never written on this device. */
    public data object Unknown : Verdict
}

internal fun FfiPendingMutation.toPublic(): PendingMutation =
    PendingMutation(
        seq = seq,
        id = id,
        state = state.toPublic(),
        reason = reason?.toPublic(),
        detail = detail?.toPublic(),
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
        is FfiVerdict.Parked -> Verdict.Parked(reason?.toPublic(), detail?.toPublic())
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
        FfiParkReason.PARTLY_ACCEPTED -> ParkReason.PARTLY_ACCEPTED
        FfiParkReason.SERVER_FAULT -> ParkReason.SERVER_FAULT
    }

internal fun FfiPatchKind.toPublic(): PatchKind =
    when (this) {
        FfiPatchKind.INSERT -> PatchKind.INSERT
        FfiPatchKind.UPDATE -> PatchKind.UPDATE
        FfiPatchKind.DELETE -> PatchKind.DELETE
    }
