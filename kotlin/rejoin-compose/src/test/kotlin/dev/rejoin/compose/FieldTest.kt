/*
 * Types and texts of fields: an edited value keeps the type of its column.
 */
package dev.rejoin.compose

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class FieldTest {
    private fun value(text: String?, type: FieldType) = (parseField(text, type) as? Parsed.Value)?.value ?: parseField(text, type)

    @Test
    fun `text becomes a value of its type`() {
        assertEquals(42L, value(" 42 ", FieldType.INTEGER))
        assertEquals(Long.MIN_VALUE, value("${Long.MIN_VALUE}", FieldType.INTEGER))
        assertEquals(1.5, value("1,5", FieldType.REAL))
        assertEquals(-2000.0, value("-2e3", FieldType.REAL))
        assertEquals(" 42 ", value(" 42 ", FieldType.TEXT))
        assertEquals("", value("", FieldType.TEXT))
        assertEquals(1L, value("1", FieldType.BOOLEAN))
        for (type in FieldType.entries) assertEquals(Parsed.Value(null), parseField(null, type))
    }

    @Test
    fun `text of another type is an error`() {
        val wrong =
            mapOf(
                FieldType.INTEGER to listOf("", "1.5", "9223372036854775808", "x"),
                FieldType.REAL to listOf("", "NaN", "Infinity", "1e999", "0x1p3", "1.5f", "1.2.3"),
                FieldType.BOOLEAN to listOf("2", "true"),
                FieldType.BLOB to listOf("00"),
            )
        for ((type, texts) in wrong) for (text in texts) assertEquals(Parsed.Invalid(type), parseField(text, type), "$type: $text")
    }

    @Test
    fun `type follows the declaration and the stored value`() {
        assertEquals(FieldType.BOOLEAN, fieldType("BOOLEAN", 1L))
        assertEquals(FieldType.INTEGER, fieldType("BOOLEAN", 2L))
        assertEquals(FieldType.INTEGER, fieldType("INT", null))
        assertEquals(FieldType.TEXT, fieldType("INTEGER", "many"))
        assertEquals(FieldType.REAL, fieldType("REAL", null))
        assertEquals(FieldType.BLOB, fieldType("TEXT", ByteArray(1)))
        assertEquals(FieldType.TEXT, fieldType(null, null))
    }

    @Test
    fun `value and its text are inverse`() {
        for (value in listOf("text", "", Long.MAX_VALUE, -0.5, 1e300, null)) {
            assertEquals(Parsed.Value(value), parseField(fieldText(value), fieldType(null, value)))
        }
    }

    @Test
    fun `shown text of each type`() {
        val texts = ParkedTexts()
        assertEquals("Yes", shownText(1L, FieldType.BOOLEAN, texts))
        assertEquals("3 bytes", shownText(ByteArray(3), FieldType.BLOB, texts))
        assertEquals(listOf("Empty", "Empty"), listOf(null, "").map { shownText(it, FieldType.TEXT, texts) })
        assertEquals("Due date", words("due_date"))
        assertTrue(sameValue(2L, 2.0) && sameValue(byteArrayOf(1), byteArrayOf(1)) && !sameValue(1L, "1"))
    }
}
