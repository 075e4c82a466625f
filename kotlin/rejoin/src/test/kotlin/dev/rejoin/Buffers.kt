/*
 * A separate row buffer encoder for tests, which can also write invalid buffers.
 */
package dev.rejoin

import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Encodes these columns and rows; cells are null, Long, Int, Double, String or ByteArray. */
fun bufferOf(columns: List<String>, vararg rows: List<Any?>): ByteArray {
    val names = ByteArrayOutputStream()
    for (name in columns) names.write(number(name.toByteArray().size) + name.toByteArray())
    val cells = ByteArrayOutputStream()
    val index = ByteArrayOutputStream()
    for (row in rows) {
        index.write(number(cells.size()))
        row.forEach { cells.write(cell(it)) }
    }
    return "RJB1".toByteArray() + number(columns.size) + number(rows.size) + number(names.size()) + number(cells.size()) +
        names.toByteArray() + cells.toByteArray() + index.toByteArray()
}

/** A buffer with one row. */
fun rowOf(vararg cells: Pair<String, Any?>): Row =
    RowBuffer.fromBytes(bufferOf(cells.map { it.first }, cells.map { it.second }))[0]

private fun cell(value: Any?): ByteArray =
    when (value) {
        null -> byteArrayOf(0)
        is Int -> cell(value.toLong())
        is Long -> integer(value)
        is Double -> byteArrayOf(5) + little(8).putDouble(value).array()
        is String -> counted(6, value.toByteArray())
        is ByteArray -> counted(8, value)
        else -> error("unsupported cell type ${value::class}")
    }

private fun integer(value: Long): ByteArray =
    when (value) {
        in Byte.MIN_VALUE..Byte.MAX_VALUE -> byteArrayOf(1, value.toByte())
        in Short.MIN_VALUE..Short.MAX_VALUE -> byteArrayOf(2) + little(2).putShort(value.toShort()).array()
        in Int.MIN_VALUE..Int.MAX_VALUE -> byteArrayOf(3) + number(value.toInt())
        else -> byteArrayOf(4) + little(8).putLong(value).array()
    }

private fun counted(tag: Byte, bytes: ByteArray): ByteArray =
    if (bytes.size < 256) byteArrayOf(tag, bytes.size.toByte()) + bytes else byteArrayOf((tag + 1).toByte()) + number(bytes.size) + bytes

private fun number(value: Int): ByteArray = little(4).putInt(value).array()

private fun little(size: Int): ByteBuffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN)
