/*
 * What the sheet shows for a parked mutation, and the statements of an edit: pure functions.
 *
 * ParkedState.kt reads what they need from the client, ParkedContent.kt draws the result.
 */
package dev.rejoin.compose

import dev.rejoin.MutationState
import dev.rejoin.ParkReason
import dev.rejoin.PatchKind
import dev.rejoin.PendingMutation
import dev.rejoin.PendingRow
import dev.rejoin.Statement

/** A table on this device: the name of its key column, and the declared types by column. */
internal data class TableInfo(val key: String?, val types: Map<String, String>)

/**
 * A parked mutation as the sheet shows it.
 *
 * @property id the mutation that a decision names.
 * @property moreRows the number of rows that are not shown.
 * @property dependents the number of mutations that were parked because of it.
 */
internal data class ParkedView(
    val id: String,
    val reason: ParkReason?,
    val message: String?,
    val action: String?,
    val rows: List<ParkedRow>,
    val moreRows: Int,
    val dependents: Int,
) {
    /** Whether two versions compete; otherwise the mutation itself was not accepted. */
    val isConflict: Boolean get() = reason == ParkReason.CONFLICTED

    /** Whether the user can correct it here: an action is corrected by its arguments, in the app. */
    val isEditable: Boolean get() = action == null && rows.any { row -> row.fields.any(ParkedField::isEditable) }
}

/**
 * A row of the mutation.
 *
 * @property exists whether the row exists without the mutation.
 */
internal data class ParkedRow(
    val table: String,
    val key: Any?,
    val keyColumn: String?,
    val change: PatchKind,
    val exists: Boolean,
    val fields: List<ParkedField>,
)

/** A column of a row, with the mutation's value and the current one. */
internal data class ParkedField(val column: String, val type: FieldType, val mine: Any?, val theirs: Any?, val isEditable: Boolean) {
    /** Whether the two values differ. */
    val differs: Boolean get() = !sameValue(mine, theirs)
}

/**
 * The mutation to decide for `id`: the mutation itself, or the parked one that it was parked because of. Null if it is no
 * longer parked.
 */
internal fun parkedRoot(id: String, pending: List<PendingMutation>): PendingMutation? {
    val parked = pending.filter { it.state == MutationState.PARKED }.associateBy { it.id }
    var root = parked[id] ?: return null
    val passed = mutableSetOf(root.id)
    while (root.reason == ParkReason.DEPENDS) {
        val cause = parked[root.becauseOf]?.takeIf { passed.add(it.id) } ?: break
        root = cause
    }
    return root
}

/**
 * What to show for a parked mutation.
 *
 * @param pending all mutations of the queue.
 * @param current the current row for each row of the mutation that exists.
 */
internal fun parkedView(
    mutation: PendingMutation,
    pending: List<PendingMutation>,
    tables: Map<String, TableInfo>,
    current: Map<PendingRow, Map<String, Any?>>,
): ParkedView {
    val queued = pending.filter { it.state != MutationState.PARKED }.flatMap { it.rows }.map { it.table to it.key }.toSet()
    val rows =
        mutation.rows.take(SHOWN_ROWS).map { row ->
            val info = tables[row.table] ?: TableInfo(null, emptyMap())
            val conflict = mutation.detail?.rows?.find { it.table == row.table && it.key == row.key }
            // The current row is what a retry compares with. Below a queued edit, only the detail has the server's row.
            val isCovered = (row.table to row.key) in queued && conflict != null
            val types = row.columns.associate { it.name to fieldType(info.types[it.name], it.newValue ?: it.oldValue) }
            val theirs = if (isCovered) conflict?.theirs else current[row]
            ParkedRow(row.table, row.key, info.key, row.operation, theirs != null, fields(row, info, types, theirs))
        }
    val dependents = pending.count { it.state == MutationState.PARKED && it.becauseOf == mutation.id }
    return ParkedView(mutation.id, mutation.reason, mutation.detail?.message, mutation.action, rows, mutation.rows.size - rows.size, dependents)
}

private fun fields(row: PendingRow, info: TableInfo, types: Map<String, FieldType>, theirs: Map<String, Any?>?): List<ParkedField> {
    // An update of a row that is gone changes nothing.
    val writes = row.operation == PatchKind.INSERT || (row.operation == PatchKind.UPDATE && theirs != null)
    val fields =
        row.columns.filter { it.name != info.key }.map { column ->
            val type = types.getValue(column.name)
            val mine = if (row.operation == PatchKind.DELETE) column.oldValue else column.newValue
            ParkedField(column.name, type, mine, theirs?.get(column.name), writes && info.key != null && type != FieldType.BLOB)
        }
    return when (row.operation) {
        PatchKind.UPDATE -> fields
        PatchKind.INSERT -> fields.filter { it.mine != null || it.theirs != null }
        // What has changed in a row since it was deleted.
        PatchKind.DELETE -> fields.filter { it.differs && theirs != null }
    }
}

/** The key of an edited field: the row's number and the column's name. */
internal data class FieldKey(val row: Int, val column: String)

/** The fields that an edit begins with. */
internal fun editedFields(view: ParkedView): Map<FieldKey, String?> =
    buildMap {
        view.rows.forEachIndexed { number, row ->
            for (field in row.fields) if (field.isEditable) put(FieldKey(number, field.column), fieldText(field.mine))
        }
    }

/** The error of each field whose text is no value of its column. */
internal fun fieldErrors(view: ParkedView, edited: Map<FieldKey, String?>): Map<FieldKey, FieldType> =
    buildMap {
        for ((key, text) in edited) {
            val type = view.rows.getOrNull(key.row)?.fields?.find { it.column == key.column }?.type ?: continue
            (parseField(text, type) as? Parsed.Invalid)?.let { put(key, it.type) }
        }
    }

/** The statements that write the edited values on top of the mutation's own: one for each row with another value. */
internal fun editStatements(view: ParkedView, edited: Map<FieldKey, String?>): List<Statement> =
    view.rows.mapIndexedNotNull { number, row ->
        val key = row.keyColumn ?: return@mapIndexedNotNull null
        val values =
            row.fields.filter { it.isEditable && FieldKey(number, it.column) in edited }.mapNotNull { field ->
                val parsed = parseField(edited[FieldKey(number, field.column)], field.type) as? Parsed.Value
                parsed?.takeUnless { sameValue(it.value, field.mine) }?.let { field.column to it.value }
            }
        if (values.isEmpty()) return@mapIndexedNotNull null
        val sets = values.joinToString { (column, _) -> "${quoted(column)} = ?" }
        Statement("UPDATE ${quoted(row.table)} SET $sets WHERE ${quoted(key)} = ?", *values.map { it.second }.toTypedArray(), row.key)
    }

/** A name as an SQL identifier. */
internal fun quoted(name: String): String = "\"${name.replace("\"", "\"\"")}\""

/** The number of rows that the sheet shows. */
internal const val SHOWN_ROWS: Int = 20
