/*
 * The type conversions of cells, by the table shared by all languages (docs/row-buffer.md).
 */
package dev.rejoin

import kotlinx.serialization.KSerializer
import kotlinx.serialization.Serializable
import kotlinx.serialization.builtins.ByteArraySerializer
import kotlinx.serialization.builtins.serializer
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.io.File

class CellTypesTest {
    @Serializable
    data class Unsigned(val a: UByte, val b: UShort, val c: UInt, val d: ULong?)

    /** The getters of a row. */
    private val getters: Map<String, (Row) -> Any> =
        mapOf(
            "bool" to { it.boolean("c") },
            "i32" to { it.int("c") },
            "i64" to { it.long("c") },
            "f64" to { bits(it.double("c")) },
            "text" to { it.string("c") },
            "blob" to { hex(it.bytes("c")) },
        )

    /** The decoder by supported type: as the only column, and as a property of a class. */
    private val decoded: Map<String, Pair<KSerializer<*>, KSerializer<*>>> =
        mapOf(
            "bool" to both(Boolean.serializer()),
            "i8" to both(Byte.serializer()),
            "i16" to both(Short.serializer()),
            "i32" to both(Int.serializer()),
            "i64" to both(Long.serializer()),
            "u8" to both(UByte.serializer()),
            "u16" to both(UShort.serializer()),
            "u32" to both(UInt.serializer()),
            "u64" to both(ULong.serializer()),
            "f32" to both(Float.serializer()),
            "f64" to both(Double.serializer()),
            "text" to both(String.serializer()),
            "blob" to both(ByteArraySerializer()),
        )

    @Serializable
    data class Holder<T>(val c: T)

    private fun <T> both(cell: KSerializer<T>) = cell to Holder.serializer(cell)

    @Test
    fun `cell type conversions match the shared table`() {
        val table = Json.parseToJsonElement(File(System.getProperty("rejoin.vectors")).resolveSibling("cell-types.json").readText()).jsonObject
        val types = table.getValue("types").jsonArray.map { it.jsonPrimitive.content }
        var given = 0
        var refused = 0
        for (case in table.getValue("cells").jsonArray.map { it.jsonObject }) {
            val cell = case.getValue("cell").jsonObject
            val row = rowOf("c" to value(cell))
            for (type in types) {
                val expected = case.getValue("fits").jsonObject[type]?.jsonPrimitive?.content
                for (read in readings(type)) {
                    if (expected != null) {
                        assertEquals(expected, read(row).toString(), "$cell as $type")
                        given++
                    } else {
                        val why = assertThrows<RejoinException.InvalidInput>("$cell as $type") { read(row) }
                        assertTrue(why.reason.startsWith("refused reading column c: "), why.reason)
                        refused++
                    }
                }
            }
        }
        assertTrue(given > 400 && refused > 800, "$given given, $refused refused")
    }

    @Test
    fun `unsigned property accepts exactly its range`() {
        val row = rowOf("a" to 255, "b" to 65_535, "c" to 4_294_967_295L, "d" to null)
        assertEquals(Unsigned(255u, 65_535u, UInt.MAX_VALUE, null), row.decode<Unsigned>())
        assertEquals(ULong.MAX_VALUE / 2u, rowOf("d" to Long.MAX_VALUE).decode<ULong>())
        for (spoiled in listOf("a" to 256, "a" to -1, "b" to 65_536, "c" to 4_294_967_296L, "c" to -1, "d" to -1)) {
            val cells = mapOf("a" to 1, "b" to 1, "c" to 1, "d" to 1) + spoiled
            val why = assertThrows<RejoinException.InvalidInput> { rowOf(*cells.toList().toTypedArray()).decode<Unsigned>() }
            assertTrue(why.reason.startsWith("refused reading column ${spoiled.first}: ${spoiled.second} does not fit U"), why.reason)
        }
    }

    @Test
    fun `NULL decodes to null for every nullable type`() {
        val row = rowOf("c" to null)
        val absent: List<(Row) -> Any?> =
            listOf({ it.booleanOrNull("c") }, { it.intOrNull("c") }, { it.doubleOrNull("c") }, { it.decode<Float?>() }, { it.decode<UInt?>() })
        for (read in absent) assertNull(read(row))
    }

    private fun readings(type: String): List<(Row) -> Any> {
        val (cell, property) = decoded[type] ?: return emptyList()
        val byDecoder: List<(Row) -> Any> =
            listOf({ shown(it.decode(cell)) }, { shown((it.decode(property) as Holder<*>).c) })
        return byDecoder + listOfNotNull(getters[type])
    }

    private fun shown(value: Any?): Any =
        when (value) {
            is Float -> "%08x".format(value.toRawBits())
            is Double -> bits(value)
            is ByteArray -> hex(value)
            else -> value!!
        }

    private fun bits(value: Double): String = "%016x".format(value.toRawBits())

    private fun hex(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it) }

    private fun value(cell: JsonObject): Any? {
        val (kind, content) = cell.entries.single()
        val text = content.jsonPrimitive.content
        return when (kind) {
            "integer" -> text.toLong()
            "real" -> Double.fromBits(java.lang.Long.parseUnsignedLong(text, 16))
            "text" -> text
            "blob" -> ByteArray(text.length / 2) { text.substring(2 * it, 2 * it + 2).toInt(16).toByte() }
            else -> null
        }
    }
}
