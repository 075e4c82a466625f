/*
 * CREATE TABLE, as SQLDelight generates it from .sq files, which declare synced tables and the app's own.
 *
 * The manifest defines the synced tables (docs/sql.md): their statement creates nothing, and its columns are compared with
 * the table's. ALTER, DROP and indexes that could reject a row of the server are rejected by the engine itself.
 */
package dev.rejoin.sqldelight

import dev.rejoin.RejoinException
import dev.rejoin.Transaction

private const val REMEDY =
    "the server's schema defines synced tables: change the .sq file, or change the table on the server and bundle its new manifest"

/** Creates a local-only table; compares a synced one, and throws [RejoinException.InvalidInput] if a column does not match. */
internal suspend fun Transaction.create(statement: CreateTable): Long {
    if (!isSynced(statement.table)) return execute(statement.sql)
    val synced = columnsOf(statement.table)
    for (declared in declaredColumns(statement)) {
        val column = synced.find { it.name.equals(declared.name, ignoreCase = true) }
        declared.difference(column)?.let { difference ->
            throw RejoinException.InvalidInput("CREATE TABLE of the synced table ${statement.table}: column ${declared.name} $difference; $REMEDY")
        }
    }
    return 0
}

/** Whether the table is synced: then the engine records its writes by triggers. */
internal suspend fun Transaction.isSynced(table: String): Boolean {
    val triggers = "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND name LIKE 'rejoin\\_%' ESCAPE '\\'"
    return !query(triggers, table).isEmpty()
}

private class Column(val name: String, val type: String, val isKey: Boolean) {
    /** How the [synced] column differs from this declaration; null if a value of one can be read as the other. */
    fun difference(synced: Column?): String? =
        when {
            synced == null -> "is not in the server's table"
            affinity(type) != affinity(synced.type) -> "is declared as ${type.ifEmpty { "BLOB" }}, but is ${synced.type}"
            isKey != synced.isKey -> if (isKey) "is declared as the key, but is not" else "is the key, but is not declared as such"
            else -> null
        }
}

/** SQLite's type affinity (section 3.1 of "Datatypes In SQLite"); BOOLEAN holds integers. */
private fun affinity(type: String): String {
    val upper = type.uppercase()
    val has = { part: String -> upper.contains(part) }
    return when {
        has("INT") || upper == "BOOLEAN" -> "INTEGER"
        has("CHAR") || has("CLOB") || has("TEXT") -> "TEXT"
        has("BLOB") || upper.isEmpty() -> "BLOB"
        has("REAL") || has("FLOA") || has("DOUB") -> "REAL"
        else -> "NUMERIC"
    }
}

private suspend fun Transaction.columnsOf(table: String): List<Column> =
    query("SELECT name, type, pk FROM pragma_table_info(?)", table) { Column(it.string(0), it.string(1), it.long(2) > 0) }

/** The columns of the statement, as SQLite reads them: of a temporary table that is rolled back. */
private suspend fun Transaction.declaredColumns(statement: CreateTable): List<Column> {
    lateinit var columns: List<Column>
    try {
        savepoint {
            it.execute("CREATE TEMP TABLE sqldelight_declared ${statement.definition}")
            columns = it.columnsOf("sqldelight_declared")
            throw Undo()
        }
    } catch (_: Undo) {
        return columns
    }
}

private class Undo : Exception()
