/*
 * Moving over from the Synchro SDK: what a device has not sent comes along.
 */
package dev.rejoin

import dev.rejoin.ffi.ImportedTable as FfiImportedTable
import dev.rejoin.ffi.LeftOut as FfiLeftOut
import dev.rejoin.ffi.SynchroImport as FfiSynchroImport

/**
 * What became of a Synchro database that was taken over.
 *
 * @property tables the tables that both sides know, by name.
 * @property leftOut what was not taken and stays in the old file, with the reason.
 * @property takenBefore unsent edits that an earlier call had taken already.
 * @property awaiting mutations that wait for the first sync before they can be sent; zero if everything has been here.
 */
public data class SynchroImport(
    val tables: List<ImportedTable>,
    val leftOut: List<LeftOut>,
    val takenBefore: Int,
    val awaiting: Int,
)

/**
 * What was taken of a table.
 *
 * @property name its name.
 * @property rows rows that are seen as the old file had them, until the first sync brings the server's.
 * @property creates rows that the server had not been told of.
 * @property updates edits that the server had not been told of, one per row.
 * @property deletes deletes that the server had not been told of.
 * @property columnsLeftOut columns of the old table that the schema lacks; their values were not taken.
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
 * What was not taken of an old file.
 *
 * @property table the table, by its old name.
 * @property recordId the row; null where the whole table was left out.
 * @property unsent how many unsent edits this is about.
 * @property why why.
 */
public data class LeftOut(val table: String, val recordId: String?, val unsent: Int, val why: String)

internal fun FfiSynchroImport.toPublic(): SynchroImport =
    SynchroImport(tables.map { it.toPublic() }, leftOut.map { it.toPublic() }, takenBefore.toInt(), awaiting.toInt())

private fun FfiImportedTable.toPublic(): ImportedTable =
    ImportedTable(name, rows.toInt(), creates.toInt(), updates.toInt(), deletes.toInt(), columnsLeftOut)

private fun FfiLeftOut.toPublic(): LeftOut = LeftOut(table, recordId, unsent.toInt(), why)
