/*
 * Writes the bytes of a row buffer (docs/row-buffer.md) from values, for the fakes of an app's tests.
 */
package dev.rejoin

import dev.rejoin.ffi.SqlValue
import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The bytes of a result with these columns and rows, as the engine writes them. */
internal fun rowBufferBytes(columns: List<String>, rows: List<List<Any?>>): ByteArray {
    val (names, cells, index) = List(3) { ByteArrayOutputStream() }
    for (name in columns) names.number(name.toByteArray().size).all(name.toByteArray())
    rows.forEachIndexed { number, row ->
        if (row.size != columns.size) {
            throw RejoinException.InvalidInput("row $number has ${row.size} values for ${columns.size} columns")
        }
        index.number(cells.size())
        row.forEachIndexed { column, value -> cells.cell(value.toSql { "row $number, column ${columns[column]}" }) }
    }
    val bytes = ByteArrayOutputStream()
    bytes.all("RJB1".toByteArray())
    for (number in listOf(columns.size, rows.size, names.size(), cells.size())) bytes.number(number)
    for (part in listOf(names, cells, index)) part.writeTo(bytes)
    return bytes.toByteArray()
}

/** Writes a cell with the narrowest tag that holds it. */
private fun ByteArrayOutputStream.cell(value: SqlValue) {
    when (value) {
        is SqlValue.Null -> write(Tag.NULL)
        is SqlValue.Integer -> integer(value.value)
        is SqlValue.Real -> tagged(Tag.REAL, 8) { putDouble(value.value) }
        is SqlValue.Text -> counted(Tag.TEXT8, Tag.TEXT32, value.value.toByteArray())
        is SqlValue.Blob -> counted(Tag.BLOB8, Tag.BLOB32, value.value)
    }
}

private fun ByteArrayOutputStream.integer(value: Long): Unit =
    when (value) {
        in Byte.MIN_VALUE..Byte.MAX_VALUE -> tagged(Tag.INT8, 1) { put(value.toByte()) }
        in Short.MIN_VALUE..Short.MAX_VALUE -> tagged(Tag.INT16, 2) { putShort(value.toShort()) }
        in Int.MIN_VALUE..Int.MAX_VALUE -> tagged(Tag.INT32, 4) { putInt(value.toInt()) }
        else -> tagged(Tag.INT64, 8) { putLong(value) }
    }

private fun ByteArrayOutputStream.counted(short: Int, long: Int, bytes: ByteArray) {
    if (bytes.size < 256) tagged(short, 1) { put(bytes.size.toByte()) } else tagged(long, 4) { putInt(bytes.size) }
    all(bytes)
}

private fun ByteArrayOutputStream.tagged(tag: Int, size: Int, data: ByteBuffer.() -> Unit) {
    write(tag)
    all(little(size).apply(data).array())
}

private fun ByteArrayOutputStream.number(value: Int): ByteArrayOutputStream = apply { all(little(4).putInt(value).array()) }

/** `writeBytes` needs Android 13. */
private fun ByteArrayOutputStream.all(bytes: ByteArray): Unit = write(bytes, 0, bytes.size)

private fun little(size: Int): ByteBuffer = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN)
