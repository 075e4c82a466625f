/*
 * The values of an import from the Synchro SDK. Storage.kt has the call.
 */
package dev.rejoin

import dev.rejoin.ffi.ImportedTable as FfiImportedTable
import dev.rejoin.ffi.LeftOut as FfiLeftOut
import dev.rejoin.ffi.SynchroImport as FfiSynchroImport

/**
 * The result of importing a Synchro database.
 *
 * @property tables the imported tables, by name.
 * @property leftOut what was not imported and stays in the old file, with the reason.
 * @property takenBefore number of unsent edits that an earlier call already imported.
 * @property awaiting number of mutations that can be sent only after the first sync; zero if the first sync is done.
 */
public data class SynchroImport(
    val tables: List<ImportedTable>,
    val leftOut: List<LeftOut>,
    val takenBefore: Int,
    val awaiting: Int,
)

/**
 * The result of importing one table.
 *
 * @property name the table's name.
 * @property rows number of rows that are visible until the first sync replaces them.
 * @property creates number of unsent inserts.
 * @property updates number of unsent edits, one per row.
 * @property deletes number of unsent deletes.
 * @property columnsLeftOut columns of the old table that the schema lacks; their values were not imported.
 */
public data class ImportedTable(
    val name: String,
    val rows: Int,
    val creates: Int,
    val updates: Int,
    val deletes: Int,
    val columnsLeftOut: List<String>,
)

/**
 * Data of the old file that was not imported.
 *
 * @property table the table's old name.
 * @property recordId the row; null if the whole table was left out.
 * @property unsent number of unsent edits left out.
 * @property reason why it was left out.
 */
public data class LeftOut(val table: String, val recordId: String?, val unsent: Int, val reason: String)

internal fun FfiSynchroImport.toPublic(): SynchroImport =
    SynchroImport(tables.map { it.toPublic() }, leftOut.map { it.toPublic() }, takenBefore.toInt(), awaiting.toInt())

private fun FfiImportedTable.toPublic(): ImportedTable =
    ImportedTable(name, rows.toInt(), creates.toInt(), updates.toInt(), deletes.toInt(), columnsLeftOut)

private fun FfiLeftOut.toPublic(): LeftOut = LeftOut(table, recordId, unsent.toInt(), reason)
