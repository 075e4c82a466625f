/*
 * Decoding rows to classes with kotlinx.serialization: accepted and rejected inputs.
 */
package dev.rejoin

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.Transient
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

class RowDecoderTest {
    @JvmInline
    @Serializable
    value class TaskId(val text: String)

    @Serializable
    enum class State {
        OPEN,

        @SerialName("finished")
        DONE,
    }

    @Serializable
    data class Task(
        val id: TaskId,
        @SerialName("the_title") val title: String,
        val done: Boolean = false,
        val state: State? = State.OPEN,
        val note: String? = "none",
        @Transient val dirty: Boolean = true,
    )

    @Serializable
    class Kinds(
        val long: Long,
        val int: Int,
        val short: Short,
        val byte: Byte,
        val double: Double,
        val float: Float,
        val char: Char,
        val bytes: ByteArray,
        val perhaps: ByteArray?,
        val parent: TaskId?,
    )

    @Serializable
    data class Nested(val id: String, val task: Task)

    @Serializable
    data class Listed(val id: String, val tags: List<String>)

    @Test
    fun `class properties match columns by name in any order`() {
        val rows =
            RowBuffer.fromBytes(
                bufferOf(
                    listOf("extra", "state", "the_title", "id", "done", "note"),
                    listOf(1, "finished", "buy milk", "t1", 1, "soon"),
                    listOf(2, null, "buy bread", "t2", 0, null),
                ),
            )
        assertEquals(
            listOf(
                Task(TaskId("t1"), "buy milk", true, State.DONE, "soon"),
                Task(TaskId("t2"), "buy bread", false, null, null),
            ),
            rows.decode<Task>(),
        )
        assertEquals("buy milk", rows[0].decode<Task>().title)
    }

    @Test
    fun `missing column uses the property default`() {
        val task = rowOf("the_title" to "buy milk", "id" to "t1").decode<Task>()
        assertEquals(Task(TaskId("t1"), "buy milk", false, State.OPEN, "none"), task)
    }

    @Test
    fun `each property type reads its cell type`() {
        val kinds =
            rowOf(
                "long" to Long.MIN_VALUE, "int" to Int.MIN_VALUE, "short" to -32768, "byte" to 127, "double" to -0.0, "float" to 0.5,
                "char" to "x", "bytes" to byteArrayOf(1, 2), "perhaps" to null, "parent" to null,
            ).decode<Kinds>()
        assertEquals(Long.MIN_VALUE, kinds.long)
        assertEquals(Int.MIN_VALUE, kinds.int)
        assertEquals(Short.MIN_VALUE, kinds.short)
        assertEquals(Byte.MAX_VALUE, kinds.byte)
        assertEquals((-0.0).toRawBits(), kinds.double.toRawBits())
        assertEquals(0.5f, kinds.float)
        assertEquals('x', kinds.char)
        assertArrayEquals(byteArrayOf(1, 2), kinds.bytes)
        assertNull(kinds.perhaps)
        assertNull(kinds.parent)
    }

    @Test
    fun `single column decodes to a plain value`() {
        val titles = RowBuffer.fromBytes(bufferOf(listOf("title"), listOf("a"), listOf("b")))
        assertEquals(listOf("a", "b"), titles.decode<String>())
        assertEquals(listOf(TaskId("a"), TaskId("b")), titles.decode<TaskId>())
        assertEquals(7L, rowOf("count(*)" to 7).decode<Long>())
        assertNull(rowOf("max(rank)" to null).decode<Long?>())
        assertEquals(State.DONE, rowOf("state" to "finished").decode<State>())
        assertArrayEquals(byteArrayOf(9), rowOf("raw" to byteArrayOf(9)).decode<ByteArray>())
        val why = assertThrows<RejoinException.InvalidInput> { rowOf("a" to 1, "b" to 2).decode<Long>() }
        assertEquals("refused decoding to kotlin.Long: it takes one column, the result has 2", why.reason)
    }

    @Test
    fun `mismatched cell is rejected with the column name`() {
        val whole = mapOf("id" to "t1", "the_title" to "x", "done" to 0, "state" to "OPEN", "note" to null)
        for ((spoiled, reason) in listOf(
            ("the_title" to null) to "refused reading column the_title: it is NULL, not text",
            ("the_title" to 5) to "refused reading column the_title: it is an integer, not text",
            ("done" to "yes") to "refused reading column done: it is text, not a truth value",
            ("state" to "CLOSED") to "refused reading column state: \"CLOSED\" is no dev.rejoin.RowDecoderTest.State",
            ("id" to 3) to "refused reading column id: it is an integer, not text",
        )) {
            val row = rowOf(*(whole + spoiled).toList().toTypedArray())
            assertEquals(reason, assertThrows<RejoinException.InvalidInput> { row.decode<Task>() }.reason)
        }
    }

    @Test
    fun `number out of the property range is rejected`() {
        for ((reason, decode) in listOf<Pair<String, () -> Any?>>(
            "refused reading column n: 128 does not fit Byte" to { rowOf("n" to 128).decode<Byte>() },
            "refused reading column n: -32769 does not fit Short" to { rowOf("n" to -32769).decode<Short>() },
            "refused reading column n: 2147483648 does not fit Int" to { rowOf("n" to 2147483648L).decode<Int>() },
            "refused reading column n: it is a text of 2 characters, not one" to { rowOf("n" to "ab").decode<Char>() },
        )) {
            assertEquals(reason, assertThrows<RejoinException.InvalidInput> { decode() }.reason)
        }
    }

    @Test
    fun `required property without column is rejected by name`() {
        val why = assertThrows<RejoinException.InvalidInput> { rowOf("id" to "t1", "title" to "x").decode<Task>() }
        assertTrue("the_title" in why.reason && "columns id, title" in why.reason, why.reason)
    }

    @Test
    fun `nested object or list is rejected with a remedy`() {
        val nested = assertThrows<RejoinException.InvalidInput> { rowOf("id" to "n1", "task" to "{}").decode<Nested>() }
        assertTrue(nested.reason.startsWith("refused reading column task: a cell holds no "), nested.reason)
        val listed = assertThrows<RejoinException.InvalidInput> { rowOf("id" to "n1", "tags" to "[]").decode<Listed>() }
        assertTrue(listed.reason.startsWith("refused reading column tags: a cell holds no "), listed.reason)
        assertThrows<RejoinException.InvalidInput> { rowOf("a" to "x").decode<List<String>>() }
    }
}
