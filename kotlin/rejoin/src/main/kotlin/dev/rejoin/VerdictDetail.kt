/*
 * Why a mutation was not accepted, with both versions of each row in conflict.
 *
 * Values are as in PendingColumn: null, Long, Double, String or ByteArray.
 */
package dev.rejoin

import dev.rejoin.ffi.SqlValue
import dev.rejoin.ffi.ConflictedRow as FfiConflictedRow
import dev.rejoin.ffi.Correction as FfiCorrection
import dev.rejoin.ffi.EffectRow as FfiEffectRow
import dev.rejoin.ffi.VerdictDetail as FfiVerdictDetail

/**
 * What the server, or this device, reports on a mutation that was parked or corrected.
 *
 * @property code the reason's code, for example `constraint.check`.
 * @property message the reason as text; one line for each rejection of a partly accepted mutation.
 * @property table the table that the reason names.
 * @property key the key of the row that the reason names.
 * @property column the column that the reason names.
 * @property rows the rows in conflict.
 * @property correction for an action of the log whose effect has changed: both effects, if they fit into 64 KiB.
 */
public data class VerdictDetail(
    val code: String?,
    val message: String?,
    val table: String?,
    val key: Any?,
    val column: String?,
    val rows: List<ConflictedRow>,
    val correction: Correction?,
)

/**
 * A row in which a mutation conflicts, as both sides had it at the verdict.
 *
 * @property table the table's name.
 * @property key the row's key.
 * @property columns the columns in conflict; empty if the row was deleted or created.
 * @property mine the row as this device showed it after the mutation; null if the mutation deletes it.
 * @property theirs the server's row; null if it has none.
 * @property before in a table with the policy `MANUAL`: the previous values of the changed columns; null for a create.
 */
public data class ConflictedRow(
    val table: String,
    val key: Any?,
    val columns: List<String>,
    val mine: Map<String, Any?>?,
    val theirs: Map<String, Any?>?,
    val before: Map<String, Any?>?,
)

/**
 * The two effects of an action of the log that was run again.
 *
 * @property before what it did before.
 * @property after what it does now; empty if it is now rejected.
 */
public data class Correction(val before: List<EffectRow>, val after: List<EffectRow>)

/**
 * What an action does to a row.
 *
 * @property table the table's name.
 * @property key the row's key.
 * @property operation the kind of change.
 * @property columns all columns for an insert, the changed ones for an update, none for a delete.
 */
public data class EffectRow(val table: String, val key: Any?, val operation: PatchKind, val columns: Map<String, Any?>)

internal fun FfiVerdictDetail.toPublic(): VerdictDetail =
    VerdictDetail(code, message, table, key?.toKotlin(), column, rows.map { it.toPublic() }, correction?.toPublic())

private fun FfiConflictedRow.toPublic(): ConflictedRow =
    ConflictedRow(table, key.toKotlin(), columns, mine?.toKotlin(), theirs?.toKotlin(), before?.toKotlin())

private fun FfiCorrection.toPublic(): Correction = Correction(before.map { it.toPublic() }, after.map { it.toPublic() })

private fun FfiEffectRow.toPublic(): EffectRow = EffectRow(table, key.toKotlin(), operation.toPublic(), columns.toKotlin())

private fun Map<String, SqlValue>.toKotlin(): Map<String, Any?> = mapValues { (_, value) -> value.toKotlin() }
