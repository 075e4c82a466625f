/*
 * The typed getters of a row: accepted and rejected reads.
 */
package dev.rejoin

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.Callable
import java.util.concurrent.Executors

class RowTest {
    private val row =
        rowOf("id" to "t1", "n" to Long.MAX_VALUE, "small" to -7, "x" to 0.1, "flag" to 1, "raw" to byteArrayOf(0, -1), "note" to null)

    @Test
    fun `getters return the stored value by index and name`() {
        assertEquals("t1", row.string(0))
        assertEquals("t1", row.string("id"))
        assertEquals(Long.MAX_VALUE, row.long("n"))
        assertEquals(-7, row.int("small"))
        assertEquals(-7L, row.long(2))
        assertEquals(0.1, row.double("x"))
        assertEquals(-7.0, row.double("small"))
        assertTrue(row.boolean("flag"))
        assertArrayEquals(byteArrayOf(0, -1), row.bytes("raw"))
        assertEquals(listOf("t1", Long.MAX_VALUE, -7L, 0.1, 1L), (0..4).map { row[it] })
        assertEquals("t1", row["id"])
    }

    @Test
    fun `NULL is null for nullable getters, rejected by others`() {
        assertTrue(row.isNull("note"))
        assertNull(row["note"])
        val getters: List<(String) -> Any?> =
            listOf(row::stringOrNull, row::longOrNull, row::intOrNull, row::doubleOrNull, row::booleanOrNull, row::bytesOrNull)
        for (get in getters) assertNull(get("note"))
        val refusing: List<(String) -> Any?> = listOf(row::string, row::long, row::int, row::double, row::boolean, row::bytes)
        for (get in refusing) {
            val why = assertThrows<RejoinException.InvalidInput> { get("note") }
            assertTrue(why.reason.startsWith("refused reading column note: it is NULL, not "), why.reason)
        }
    }

    @Test
    fun `wrong type is rejected with column and both types`() {
        for ((reason, get) in listOf<Pair<String, () -> Any?>>(
            "refused reading column id: it is text, not an integer" to { row.long("id") },
            "refused reading column n: it is an integer, not text" to { row.string("n") },
            "refused reading column n: ${Long.MAX_VALUE} does not fit Double" to { row.double("n") },
            "refused reading column n: ${Long.MAX_VALUE} does not fit Int" to { row.int("n") },
            "refused reading column x: it is a real number, not an integer" to { row.int("x") },
            "refused reading column small: -7 is neither 0 nor 1" to { row.boolean("small") },
            "refused reading column raw: it is bytes, not a truth value" to { row.boolean("raw") },
            "refused reading column x: it is a real number, not bytes" to { row.bytes("x") },
            "refused reading column title: the result has the columns id, n, small, x, flag, raw, note" to { row["title"] },
            "refused reading column 7: the result has 7 columns" to { row[7] },
            "refused reading column -1: the result has 7 columns" to { row[-1] },
        )) {
            assertEquals(reason, assertThrows<RejoinException.InvalidInput> { get() }.reason)
        }
    }

    @Test
    fun `duplicate column name reads the first column`() {
        val twins = rowOf("id" to 1, "id" to 2)
        assertEquals(1L, twins.long("id"))
        assertEquals(2L, twins.long(1))
        assertEquals(mapOf("id" to 1L), twins.toMap())
    }

    @Test
    fun `columns of a wide row can be read in any order`() {
        val wide = rowOf(*(0 until 5_000).map { "c$it" to it }.toTypedArray())
        for (column in listOf(4_999, 0, 4_095, 4_096, 4_094, 1, 4_999)) assertEquals(column, wide.int(column))
        val long = rowOf("a" to "x".repeat(2_000_000), "b" to "y", "c" to "z")
        for (column in listOf("c", "b", "c", "b")) assertEquals(if (column == "b") "y" else "z", long.string(column))
    }

    @Test
    fun `threads read the same row in different orders`() {
        val shared = rowOf(*(0 until 40).map { "c$it" to "text $it" }.toTypedArray())
        val pool = Executors.newFixedThreadPool(4)
        val readers =
            (0 until 4).map { thread ->
                Callable { (0 until 200_000).all { ((it * (7 + 2 * thread)) % 40).let { at -> shared.string(at) == "text $at" } } }
            }
        assertTrue(pool.invokeAll(readers).all { it.get() })
        pool.shutdown()
    }
}
