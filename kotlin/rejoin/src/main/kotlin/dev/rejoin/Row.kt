/*
 * One row of a result, with typed getters by column number and by name.
 *
 * A getter returns exactly the stored value or throws RejoinException.InvalidInput with the column, the stored type and
 * the requested type. Nothing is converted silently; only an integer may be read as a real number of the same value
 * (`sum()` of integers returns one). All languages share these rules: docs/row-buffer.md, "Reading a cell as a type".
 */
package dev.rejoin

/**
 * A row of a [RowBuffer]; cells are decoded on access.
 *
 * Reading columns from left to right is fastest. Immutable, and safe to share between threads.
 *
 * ```kotlin
 * val task = client.query("SELECT id, title, done, note FROM task").first()
 * val id = task.string("id")
 * val done = task.boolean("done")
 * val note = task.stringOrNull("note")
 * ```
 */
public class Row internal constructor(
    internal val buffer: RowBuffer,
    private val start: Int,
) {
    // The last column read (12 bits) and its offset from `start` (20 bits) in one Int, so that racing threads write only
    // valid values, as in String.hashCode. Columns beyond these sizes are not cached.
    private var mark: Int = 0

    /** The names of the columns, in order. */
    public val columns: List<String> get() = buffer.columns

    /** Whether the cell is NULL. */
    public fun isNull(column: Int): Boolean = cells.tag(at(column)) == Tag.NULL

    /** Whether the cell is NULL. */
    public fun isNull(column: String): Boolean = isNull(buffer.numberOf(column))

    /** The stored value of the cell: null, [Long], [Double], [String] or [ByteArray]. */
    public operator fun get(column: Int): Any? {
        val at = at(column)
        return when (cells.tag(at)) {
            Tag.NULL -> null
            Tag.REAL -> cells.real(at)
            Tag.TEXT8, Tag.TEXT32 -> cells.text(at) ?: throw notUtf8(column)
            Tag.BLOB8, Tag.BLOB32 -> cells.blob(at)
            else -> cells.integer(at)
        }
    }

    /** The stored value of the cell: null, [Long], [Double], [String] or [ByteArray]. */
    public operator fun get(column: String): Any? = get(buffer.numberOf(column))

    /** The text in a column. */
    public fun string(column: Int): String {
        val at = at(column)
        if (!cells.isText(at)) throw not(column, at, "text")
        return cells.text(at) ?: throw notUtf8(column)
    }

    /** The text in a column. */
    public fun string(column: String): String = string(buffer.numberOf(column))

    /** The text in a column, or null if it is NULL. */
    public fun stringOrNull(column: Int): String? = if (isNull(column)) null else string(column)

    /** The text in a column, or null if it is NULL. */
    public fun stringOrNull(column: String): String? = stringOrNull(buffer.numberOf(column))

    /** The 64-bit integer in a column. */
    public fun long(column: Int): Long {
        val at = at(column)
        if (!cells.isInteger(at)) throw not(column, at, "an integer")
        return cells.integer(at)
    }

    /** The 64-bit integer in a column. */
    public fun long(column: String): Long = long(buffer.numberOf(column))

    /** The integer in a column, or null if it is NULL. */
    public fun longOrNull(column: Int): Long? = if (isNull(column)) null else long(column)

    /** The integer in a column, or null if it is NULL. */
    public fun longOrNull(column: String): Long? = longOrNull(buffer.numberOf(column))

    /** The integer in a column; throws if it does not fit an [Int]. */
    public fun int(column: Int): Int {
        val number = long(column)
        if (number.toInt().toLong() != number) throw outOfRange(column, number, "Int")
        return number.toInt()
    }

    /** The integer in a column; throws if it does not fit an [Int]. */
    public fun int(column: String): Int = int(buffer.numberOf(column))

    /** The integer in a column, or null if it is NULL; throws if it does not fit an [Int]. */
    public fun intOrNull(column: Int): Int? = if (isNull(column)) null else int(column)

    /** The integer in a column, or null if it is NULL; throws if it does not fit an [Int]. */
    public fun intOrNull(column: String): Int? = intOrNull(buffer.numberOf(column))

    /** The number in a column: a real number, or an integer that a [Double] represents exactly. */
    public fun double(column: Int): Double {
        val at = at(column)
        if (cells.tag(at) == Tag.REAL) return cells.real(at)
        if (!cells.isInteger(at)) throw not(column, at, "a real number")
        val number = cells.integer(at)
        // The largest integers round to 2^63, which converts back to Long.MAX_VALUE.
        if (number.toDouble().toLong() != number || number == Long.MAX_VALUE) throw outOfRange(column, number, "Double")
        return number.toDouble()
    }

    /** The number in a column: a real number, or an integer that a [Double] represents exactly. */
    public fun double(column: String): Double = double(buffer.numberOf(column))

    /** The [Float] nearest to a real number in its range, or exactly the number of an integer. */
    internal fun float(column: Int): Float {
        val number = double(column)
        val nearest = number.toFloat()
        val isInteger = cells.isInteger(at(column))
        val fits = if (isInteger) nearest.toDouble() == number else nearest.isFinite() || !number.isFinite()
        if (!fits) throw outOfRange(column, if (isInteger) long(column) else number, "Float")
        return nearest
    }

    /** The number in a column, or null if it is NULL. */
    public fun doubleOrNull(column: Int): Double? = if (isNull(column)) null else double(column)

    /** The number in a column, or null if it is NULL. */
    public fun doubleOrNull(column: String): Double? = doubleOrNull(buffer.numberOf(column))

    /** The boolean in a column: integer 0 is false, 1 is true; anything else throws. */
    public fun boolean(column: Int): Boolean {
        val at = at(column)
        if (!cells.isInteger(at)) throw not(column, at, "a truth value")
        return when (val number = cells.integer(at)) {
            0L -> false
            1L -> true
            else -> throw refused(column, "$number is neither 0 nor 1")
        }
    }

    /** The boolean in a column: integer 0 is false, 1 is true; anything else throws. */
    public fun boolean(column: String): Boolean = boolean(buffer.numberOf(column))

    /** The boolean in a column, or null if it is NULL. */
    public fun booleanOrNull(column: Int): Boolean? = if (isNull(column)) null else boolean(column)

    /** The boolean in a column, or null if it is NULL. */
    public fun booleanOrNull(column: String): Boolean? = booleanOrNull(buffer.numberOf(column))

    /** A copy of the bytes in a column. */
    public fun bytes(column: Int): ByteArray {
        val at = at(column)
        if (!cells.isBlob(at)) throw not(column, at, "bytes")
        return cells.blob(at)
    }

    /** A copy of the bytes in a column. */
    public fun bytes(column: String): ByteArray = bytes(buffer.numberOf(column))

    /** A copy of the bytes in a column, or null if it is NULL. */
    public fun bytesOrNull(column: Int): ByteArray? = if (isNull(column)) null else bytes(column)

    /** A copy of the bytes in a column, or null if it is NULL. */
    public fun bytesOrNull(column: String): ByteArray? = bytesOrNull(buffer.numberOf(column))

    /** The stored values by column name. */
    public fun toMap(): Map<String, Any?> {
        val map = LinkedHashMap<String, Any?>()
        columns.forEachIndexed { number, name -> if (name !in map) map[name] = get(number) }
        return map
    }

    override fun toString(): String = toMap().toString()

    internal fun outOfRange(column: Int, value: Any, type: String) = refused(column, "$value does not fit $type")

    internal fun refused(column: Int, why: String) =
        RejoinException.InvalidInput("refused reading column ${columns[column]}: $why")

    private fun not(column: Int, at: Int, wanted: String) = refused(column, "it is ${cells.kind(at)}, not $wanted")

    private fun notUtf8(column: Int) = refused(column, "it is not UTF-8; cast it to BLOB in the query")

    private val cells: Cells get() = buffer.cells

    /** The offset of a column's cell. */
    private fun at(column: Int): Int {
        if (column < 0 || column >= buffer.columns.size) {
            throw RejoinException.InvalidInput("refused reading column $column: the result has ${columns.size} columns")
        }
        val seen = mark
        var number = seen ushr OFFSET_BITS
        var offset = seen and OFFSET_MAX
        if (number > column) {
            number = 0
            offset = 0
        }
        var at = start + offset
        while (number < column) {
            at = cells.after(at)
            number++
        }
        if (column <= COLUMN_MAX && at - start <= OFFSET_MAX) mark = (column shl OFFSET_BITS) or (at - start)
        return at
    }

    private companion object {
        const val OFFSET_BITS = 20
        const val OFFSET_MAX = (1 shl OFFSET_BITS) - 1
        const val COLUMN_MAX = (1 shl (32 - OFFSET_BITS)) - 1
    }
}
