/*
 * The rows of a result as one block of bytes (docs/row-buffer.md), decoded on access.
 *
 * The header, the names and the total length are checked on creation, each cell when it is read. Truncated or changed
 * bytes throw RejoinException.Internal. They cause no crash, no out-of-bounds read and no oversized allocation.
 */
package dev.rejoin

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The rows of a result.
 *
 * Cells are decoded on access, so rows that are not shown cost nothing. Immutable, and safe to share between threads. Two
 * buffers are equal if and only if their columns and all their cells are equal.
 *
 * ```kotlin
 * val tasks = client.query("SELECT id, title FROM task ORDER BY rank")
 * for (row in tasks) println(row.string("title"))
 * val titles = tasks.map { it.string("title") }
 * ```
 */
public class RowBuffer private constructor(
    internal val cells: Cells,
    /** The names of the columns, in order. Names may repeat; access by name uses the first. */
    public val columns: List<String>,
    /** The number of rows. */
    public val size: Int,
    private val body: Int,
) : Iterable<Row> {
    // Built with the buffer, so that threads that share it see it complete.
    private val numbers: HashMap<String, Int> =
        HashMap<String, Int>(columns.size * 2).also { columns.forEachIndexed { number, name -> it.putIfAbsent(name, number) } }

    /** Whether there are no rows. */
    public fun isEmpty(): Boolean = size == 0

    /**
     * The row at index [number], from 0.
     *
     * @throws IndexOutOfBoundsException if there is no such row.
     */
    public operator fun get(number: Int): Row {
        if (number < 0 || number >= size) throw IndexOutOfBoundsException("row $number of $size")
        val offset = cells.number(cells.end + 4 * number)
        if (offset > cells.end - body) throw damaged("the index points outside")
        return Row(this, body + offset.toInt())
    }

    /** The rows, in order. */
    override fun iterator(): Iterator<Row> =
        object : Iterator<Row> {
            private var next = 0

            override fun hasNext(): Boolean = next < size

            override fun next(): Row {
                if (next >= size) throw NoSuchElementException()
                return get(next++)
            }
        }

    /** A copy of the bytes, for [fromBytes]. */
    public fun toBytes(): ByteArray = cells.bytes.copyOf()

    /**
     * Converts each row to a [T] with [transform], in order, into a list of the right size.
     *
     * @throws RejoinException.InvalidInput if [transform] reads a column that does not exist or has another type.
     */
    public inline fun <T> mapRows(transform: (Row) -> T): List<T> {
        val made = ArrayList<T>(size)
        for (number in 0 until size) made.add(transform(get(number)))
        return made
    }

    /** The index of the first column with this name. */
    internal fun numberOf(name: String): Int =
        numbers[name] ?: throw RejoinException.InvalidInput(
            "refused reading column $name: the result has the columns ${columns.joinToString()}",
        )

    internal fun numberOrMinusOne(name: String): Int = numbers[name] ?: -1

    override fun equals(other: Any?): Boolean =
        this === other || (other is RowBuffer && cells.bytes.contentEquals(other.cells.bytes))

    override fun hashCode(): Int = cells.bytes.contentHashCode()

    override fun toString(): String = "RowBuffer(columns=$columns, size=$size, bytes=${cells.bytes.size})"

    public companion object {
        private const val MAGIC = 0x31424A52 // "RJB1", little-endian
        private const val HEADER = 20

        /**
         * Reads the header of [bytes]; cells are checked when they are read. Keeps the array: do not modify it.
         *
         * @throws RejoinException.Internal if the bytes are not a complete row buffer.
         */
        public fun fromBytes(bytes: ByteArray): RowBuffer {
            if (bytes.size < HEADER) throw damaged("shorter than its header")
            val header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
            if (header.getInt(0) != MAGIC) throw damaged("does not begin with RJB1")
            val number = { at: Int -> header.getInt(at).toLong() and 0xFFFF_FFFFL }
            val rows = number(8)
            // Each sum is below 2^36, so a Long holds it for any input.
            val body = HEADER + number(12)
            val end = body + number(16)
            if (end + 4 * rows != bytes.size.toLong()) throw damaged("its lengths do not add up")
            val columns = names(bytes, header, body.toInt(), number(4))
            return RowBuffer(Cells(bytes, end.toInt()), columns, rows.toInt(), body.toInt())
        }

        /**
         * Makes a result from values, for an app's tests: as the engine would return these rows.
         *
         * ```kotlin
         * RowBuffer.of(listOf("id", "title"), listOf("t1", "buy milk"), listOf("t2", null))
         * ```
         *
         * @param rows for each row a value per column, of the types of the parameters of a [Statement].
         * @throws RejoinException.InvalidInput for a value of another type, or a row that has more or fewer values than
         *   there are columns.
         */
        public fun of(columns: List<String>, vararg rows: List<Any?>): RowBuffer = fromBytes(rowBufferBytes(columns, rows.asList()))

        private fun names(bytes: ByteArray, header: ByteBuffer, end: Int, count: Long): List<String> {
            // Each name takes at least four bytes, so a damaged count cannot cause an oversized allocation.
            if (count > (end - HEADER) / 4) throw damaged("more columns than names")
            val names = ArrayList<String>(count.toInt())
            var at = HEADER
            repeat(count.toInt()) {
                if (end - at < 4) throw damaged("a name is cut")
                val length = header.getInt(at)
                at += 4
                if (length < 0 || length > end - at) throw damaged("a name is cut")
                names.add(utf8(bytes, at, length) ?: throw damaged("a name is not UTF-8"))
                at += length
            }
            if (at != end) throw damaged("something follows the names")
            return names
        }
    }
}
