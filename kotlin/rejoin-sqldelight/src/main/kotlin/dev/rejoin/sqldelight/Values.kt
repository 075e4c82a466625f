/*
 * Parameters and cells, between SQLDelight and the client.
 *
 * A cell has exactly the stored value: nothing is converted silently. A cell of another type throws
 * RejoinException.InvalidInput with the column, as dev.rejoin.Row does.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.db.QueryResult
import app.cash.sqldelight.db.SqlCursor
import app.cash.sqldelight.db.SqlPreparedStatement
import dev.rejoin.RejoinException
import dev.rejoin.Row
import dev.rejoin.RowBuffer

/** The values that [binders] binds, in order; NULL for those that it leaves out. */
internal fun bound(parameters: Int, binders: (SqlPreparedStatement.() -> Unit)?): Array<Any?> =
    Binder(parameters).also { binder -> binders?.invoke(binder) }.values

private class Binder(parameters: Int) : SqlPreparedStatement {
    val values = arrayOfNulls<Any?>(parameters)

    override fun bindBytes(index: Int, bytes: ByteArray?) = bind(index, bytes)

    override fun bindLong(index: Int, long: Long?) = bind(index, long)

    override fun bindDouble(index: Int, double: Double?) = bind(index, double)

    override fun bindString(index: Int, string: String?) = bind(index, string)

    override fun bindBoolean(index: Int, boolean: Boolean?) = bind(index, boolean)

    private fun bind(index: Int, value: Any?) {
        if (index !in values.indices) {
            throw RejoinException.InvalidInput("parameter index $index: the statement has ${values.size} parameters, counted from 0")
        }
        values[index] = value
    }
}

/** A cursor over rows that are in memory. */
internal class RowCursor(private val rows: RowBuffer) : SqlCursor {
    private var next = 0
    private var current: Row? = null

    override fun next(): QueryResult<Boolean> {
        current = if (next < rows.size) rows[next++] else null
        return QueryResult.Value(current != null)
    }

    override fun getString(index: Int): String? = row().stringOrNull(index)

    override fun getLong(index: Int): Long? = row().longOrNull(index)

    override fun getBytes(index: Int): ByteArray? = row().bytesOrNull(index)

    override fun getDouble(index: Int): Double? = row().doubleOrNull(index)

    override fun getBoolean(index: Int): Boolean? = row().booleanOrNull(index)

    private fun row(): Row = current ?: throw RejoinException.InvalidInput("the cursor is not on a row; call next() until it returns false")
}
