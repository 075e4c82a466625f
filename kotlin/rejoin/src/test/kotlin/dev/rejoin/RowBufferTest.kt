/*
 * The row buffer decoder against the shared vectors, and against damaged bytes.
 */
package dev.rejoin

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.io.ByteArrayOutputStream
import java.io.File
import java.util.SplittableRandom

class RowBufferTest {
    @Test
    fun `valid vectors decode to their values`() {
        val vectors = vectors("valid")
        assertTrue(vectors.size >= 14, "${vectors.size} vectors")
        vectors.forEach(::check)
    }

    @Test
    fun `result made from values equals the engine's`() =
        story {
            val long = "x".repeat(300)
            val cells =
                listOf(null, 0, 127, -128, 128, -129, 32_767, -32_768, 32_768, -32_769, Int.MAX_VALUE, Int.MIN_VALUE, 2_147_483_648, Long.MIN_VALUE, 0.1, -0.0) +
                    listOf("", "na\u00efve", "x".repeat(255), "x".repeat(256), long, byteArrayOf(), byteArrayOf(0, -1), long.toByteArray(), true, false)
            val columns = cells.indices.map { "c$it" }
            val sql = columns.joinToString(prefix = "SELECT ") { "? AS $it" }
            val engine = local().query("$sql UNION ALL $sql", *cells.toTypedArray(), *cells.reversed().toTypedArray())
            assertEquals(engine, RowBuffer.of(columns, cells, cells.reversed()))
            assertEquals(local().query("SELECT 1 AS one WHERE false"), RowBuffer.of(listOf("one")))
            refused<RejoinException.InvalidInput> { RowBuffer.of(columns, cells.drop(1)) }
            refused<RejoinException.InvalidInput> { RowBuffer.of(listOf("c"), listOf(listOf(1))) }
        }

    @Test
    fun `wider encodings are accepted`() {
        val vectors = vectors("readable")
        assertTrue(vectors.isNotEmpty())
        vectors.forEach(::check)
    }

    @Test
    fun `damaged vectors are rejected at the stated point`() {
        val vectors = vectors("damaged")
        assertTrue(vectors.size >= 25, "${vectors.size} vectors")
        for (vector in vectors) {
            val bytes = hex(vector.text("hex"))
            if (vector.text("found") == "open") {
                assertThrows<RejoinException>(vector.text("name")) { RowBuffer.fromBytes(bytes) }
            } else {
                val rows = RowBuffer.fromBytes(bytes)
                assertThrows<RejoinException>(vector.text("name")) { cellsOf(rows[0]) }
            }
        }
    }

    @Test
    fun `truncated buffer is rejected`() {
        val bytes = sample()
        readAll(bytes)
        for (length in bytes.indices) {
            assertThrows<RejoinException>("cut to $length") { RowBuffer.fromBytes(bytes.copyOf(length)) }
        }
    }

    @Test
    fun `buffer with a flipped bit is read or rejected`() {
        val bytes = sample()
        var read = 0
        var refused = 0
        for (bit in 0 until bytes.size * 8) {
            val spoiled = bytes.copyOf()
            spoiled[bit / 8] = (spoiled[bit / 8].toInt() xor (1 shl bit % 8)).toByte()
            if (readsAll(spoiled)) read++ else refused++
        }
        // Both outcomes must occur often for the test to be meaningful.
        assertTrue(read > 300 && refused > 300, "read $read, refused $refused")
    }

    @Test
    fun `randomly damaged buffer is read or rejected`() {
        val random = SplittableRandom(4)
        val bytes = sample()
        val favourites = intArrayOf(0, 1, 0x7f, 0x80, 0xff)
        var read = 0
        var refused = 0
        repeat(50_000) {
            val spoiled = bytes.copyOf()
            repeat(random.nextInt(1, 4)) {
                val any = if (random.nextBoolean()) random.nextInt(256) else favourites[random.nextInt(favourites.size)]
                spoiled[random.nextInt(spoiled.size)] = any.toByte()
            }
            if (readsAll(spoiled)) read++ else refused++
        }
        assertTrue(read > 3_000 && refused > 3_000, "read $read, refused $refused")
    }

    @Test
    fun `buffers are equal if and only if their bytes are`() {
        val one = RowBuffer.fromBytes(bufferOf(listOf("x"), listOf(0.0)))
        assertEquals(one, RowBuffer.fromBytes(bufferOf(listOf("x"), listOf(0.0))))
        assertEquals(one.hashCode(), RowBuffer.fromBytes(one.toBytes()).hashCode())
        assertNotEquals(one, RowBuffer.fromBytes(bufferOf(listOf("x"), listOf(-0.0))))
        assertNotEquals(one, RowBuffer.fromBytes(bufferOf(listOf("y"), listOf(0.0))))
    }

    @Test
    fun `missing row index throws IndexOutOfBounds`() {
        val rows = RowBuffer.fromBytes(bufferOf(listOf("x"), listOf(1L), listOf(2L)))
        assertEquals(2L, rows[1].long(0))
        assertThrows<IndexOutOfBoundsException> { rows[2] }
        assertThrows<IndexOutOfBoundsException> { rows[-1] }
        val iterator = rows.iterator()
        repeat(2) { iterator.next() }
        assertThrows<NoSuchElementException> { iterator.next() }
    }

    /** Several rows with a cell of each type. */
    private fun sample(): ByteArray {
        val rows =
            (0L until 8L).map { n ->
                listOf("id$n", n shl (7 * n.toInt()), n / 3.0, "t".repeat(40) + "\uFFFD", null, ByteArray(3) { n.toByte() }, "x".repeat(300))
            }
        return bufferOf(listOf("id", "n", "x", "t", "nothing", "b", "long"), *rows.toTypedArray())
    }

    private fun readsAll(bytes: ByteArray): Boolean =
        try {
            readAll(bytes)
            true
        } catch (_: RejoinException) {
            false
        }

    private fun readAll(bytes: ByteArray) = RowBuffer.fromBytes(bytes).forEach { cellsOf(it) }

    private fun cellsOf(row: Row): List<Any?> = row.columns.indices.map { row[it] }

    private fun check(vector: JsonObject) {
        val name = vector.text("name")
        val rows = RowBuffer.fromBytes(bytesOf(vector))
        val expected = vector.getValue("rows").jsonArray.map { row -> row.jsonArray.map { value(it.jsonObject) } }

        assertEquals(vector.getValue("columns").jsonArray.map { it.jsonPrimitive.content }, rows.columns, name)
        assertEquals(expected.size * vector.times(), rows.size, name)
        rows.forEachIndexed { number, row ->
            val wanted = expected[number % expected.size]
            wanted.forEachIndexed { column, value -> assertTrue(same(value, row[column]), "$name: row $number, column $column") }
            // Backwards, so that the row's cached column does not help.
            for (column in wanted.indices.reversed()) assertTrue(same(wanted[column], row[column]), "$name: backwards")
        }
    }

    /** Compares numbers by their bits, so that -0.0 and 0.0 differ. */
    private fun same(one: Any?, other: Any?): Boolean =
        when {
            one is Double && other is Double -> one.toRawBits() == other.toRawBits()
            one is ByteArray && other is ByteArray -> one.contentEquals(other)
            else -> one == other
        }

    private fun value(cell: JsonObject): Any? {
        val (kind, text) = cell.entries.first().let { it.key to it.value.jsonPrimitive.content }
        return when (kind) {
            "null" -> null
            "integer" -> text.toLong()
            "real" -> Double.fromBits(text.toULong(16).toLong())
            "text" -> text.repeat(cell.times())
            "blob" -> hex(text.repeat(cell.times()))
            else -> error("class $kind")
        }
    }

    private fun bytesOf(vector: JsonObject): ByteArray {
        val whole = vector["hex"]?.let { return hex(it.jsonPrimitive.content) } ?: vector.getValue("pieces").jsonArray
        val bytes = ByteArrayOutputStream()
        for (piece in whole.map(JsonElement::jsonObject)) {
            val index = piece["index"]?.jsonPrimitive?.int
            if (index == null) {
                val part = hex(piece.text("hex"))
                repeat(piece.times()) { bytes.write(part) }
            } else {
                val step = piece.getValue("step").jsonPrimitive.int
                repeat(index) { row -> repeat(4) { bytes.write(row * step ushr (8 * it)) } }
            }
        }
        return bytes.toByteArray()
    }

    private fun vectors(kind: String): List<JsonObject> {
        val file = File(System.getProperty("rejoin.vectors"))
        return (Json.parseToJsonElement(file.readText()).jsonObject.getValue(kind) as JsonArray).map { it.jsonObject }
    }

    private fun JsonObject.text(name: String): String = getValue(name).jsonPrimitive.content

    private fun JsonObject.times(): Int = get("times")?.jsonPrimitive?.int ?: 1

    private fun hex(text: String): ByteArray = ByteArray(text.length / 2) { text.substring(2 * it, 2 * it + 2).toInt(16).toByte() }
}
