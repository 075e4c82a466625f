/*
 * The cells of a row buffer: their length and their content.
 *
 * Every function takes the offset of a cell's tag. Offsets come from the row index and were checked to lie within the
 * cells. The end of each cell is checked before it is read.
 */
package dev.rejoin

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.charset.CharacterCodingException
import java.nio.charset.CodingErrorAction

/** The bytes of a row buffer; cells end before [end]. */
internal class Cells(val bytes: ByteArray, val end: Int) {
    // Absolute reads only, so that threads can share it.
    private val view = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)

    /** The unsigned 32-bit number at [at]. */
    fun number(at: Int): Long = view.getInt(at).toLong() and 0xFFFF_FFFFL

    /** The tag of the cell at [at]. */
    fun tag(at: Int): Int {
        if (at >= end) throw cut()
        return bytes[at].toInt()
    }

    /** The offset after the cell at [at]. */
    fun after(at: Int): Int {
        val tag = tag(at)
        val after =
            when (tag) {
                Tag.NULL, Tag.FALSE, Tag.TRUE -> at + 1
                Tag.INT8 -> at + 2
                Tag.INT16 -> at + 3
                Tag.INT32 -> at + 5
                Tag.INT64, Tag.REAL -> at + 9
                Tag.TEXT8, Tag.BLOB8 -> {
                    if (end - at < 2) throw cut()
                    at + 2 + (bytes[at + 1].toInt() and 0xFF)
                }
                Tag.TEXT32, Tag.BLOB32 -> at + 5 + length32(at)
                else -> throw damaged("a cell has an unknown tag")
            }
        // A sum beyond 2^31 is negative: lengths are at most the array size, so it cannot wrap twice.
        if (after > end || after < 0) throw cut()
        return after
    }

    /** The integer in the cell at [at]; call [isInteger] first. */
    fun integer(at: Int): Long {
        after(at)
        return when (bytes[at].toInt()) {
            Tag.FALSE -> 0
            Tag.TRUE -> 1
            Tag.INT8 -> bytes[at + 1].toLong()
            Tag.INT16 -> view.getShort(at + 1).toLong()
            Tag.INT32 -> view.getInt(at + 1).toLong()
            else -> view.getLong(at + 1)
        }
    }

    fun isInteger(at: Int): Boolean = tag(at).let { it in Tag.INT8..Tag.INT64 || it == Tag.FALSE || it == Tag.TRUE }

    /** The real number in the cell at [at], bit for bit. */
    fun real(at: Int): Double {
        after(at)
        return Double.fromBits(view.getLong(at + 1))
    }

    /** The text in the cell at [at], or null if its bytes are not UTF-8. */
    fun text(at: Int): String? {
        val after = after(at)
        val start = start(at)
        return utf8(bytes, start, after - start)
    }

    /** A copy of the bytes in the cell at [at]. */
    fun blob(at: Int): ByteArray {
        val after = after(at)
        return bytes.copyOfRange(start(at), after)
    }

    fun isText(at: Int): Boolean = tag(at).let { it == Tag.TEXT8 || it == Tag.TEXT32 }

    fun isBlob(at: Int): Boolean = tag(at).let { it == Tag.BLOB8 || it == Tag.BLOB32 }

    /** The kind of the cell at [at], for messages. */
    fun kind(at: Int): String =
        when (tag(at)) {
            Tag.NULL -> "NULL"
            Tag.INT8, Tag.INT16, Tag.INT32, Tag.INT64, Tag.FALSE, Tag.TRUE -> "an integer"
            Tag.REAL -> "a real number"
            Tag.TEXT8, Tag.TEXT32 -> "text"
            Tag.BLOB8, Tag.BLOB32 -> "bytes"
            else -> throw damaged("a cell has an unknown tag")
        }

    /** The offset of a text's or blob's bytes, after a length of one or four bytes. */
    private fun start(at: Int): Int = if (bytes[at].toInt().let { it == Tag.TEXT8 || it == Tag.BLOB8 }) at + 2 else at + 5

    private fun length32(at: Int): Int {
        if (end - at < 5) throw cut()
        val length = view.getInt(at + 1)
        if (length < 0 || length > end) throw cut()
        return length
    }

    private fun cut() = damaged("a cell is cut")
}

/** The tags. The engine writes the narrowest form; a reader accepts all. */
internal object Tag {
    const val NULL = 0
    const val INT8 = 1
    const val INT16 = 2
    const val INT32 = 3
    const val INT64 = 4
    const val REAL = 5
    const val TEXT8 = 6
    const val TEXT32 = 7
    const val BLOB8 = 8
    const val BLOB32 = 9
    const val FALSE = 10
    const val TRUE = 11
}

internal fun damaged(how: String): RejoinException = RejoinException.Internal("row buffer is damaged: $how")

/** The text of these bytes, or null if they are not UTF-8. */
internal fun utf8(bytes: ByteArray, start: Int, length: Int): String? {
    // The JDK's fast path replaces invalid UTF-8 with U+FFFD; only texts with that character need the strict decoder.
    val text = String(bytes, start, length, Charsets.UTF_8)
    return if (text.indexOf('\uFFFD') < 0 || isUtf8(bytes, start, length)) text else null
}

private fun isUtf8(bytes: ByteArray, start: Int, length: Int): Boolean =
    try {
        Charsets.UTF_8.newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT)
            .decode(ByteBuffer.wrap(bytes, start, length))
        true
    } catch (_: CharacterCodingException) {
        false
    }
