/*
 * What the server has accepted: shown, taken back, done again, and forgotten.
 */
package dev.rejoin

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Duration
import kotlin.time.Duration.Companion.days
import kotlin.time.Duration.Companion.milliseconds

class HistoryTest {
    /** Does it, and waits until the server has it; its id. */
    private suspend fun RejoinClient.accepted(sql: String): String {
        stop()
        execute(sql)
        return pending().last().id.also { syncAndWait() }
    }

    @Test
    fun `what was accepted is shown, taken back and done again`() =
        story {
            val server = server()
            val client = server.run { device() }
            client.accepted("INSERT INTO task(id, title) VALUES ('t1', 'one')")
            val edit = client.accepted("UPDATE task SET title = 'two'")
            val newest = client.history(1).single()
            assertEquals(listOf(edit, null, null, 1L), newest.run { listOf(id, action, undoes, attempt) })
            assertTrue(newest.accepted >= newest.written && newest.seq > 0, "$newest")
            assertEquals(PatchKind.UPDATE, newest.rows.single().operation)
            val title = newest.rows.single().columns.single { it.name == "title" }
            assertEquals("one" to "two", title.oldValue to title.newValue)

            val undone = client.undo(edit) as Undone.By
            assertEquals(listOf("one"), client.titles()) // At once.
            client.syncAndWait()
            assertEquals(listOf(listOf("one")), server.rows("SELECT title FROM task"))
            assertEquals(undone.id to edit, client.history(1).single().run { id to undoes })
            assertTrue(client.redo(edit) is Undone.By)
            client.syncAndWait()
            assertEquals(listOf(listOf("two")), server.rows("SELECT title FROM task"))
            refused<RejoinException.InvalidInput> { client.redo(edit) } // Done again already.
            assertEquals(4, client.history(10).size)
            assertEquals(0, client.history(0).size)
            refused<RejoinException.InvalidInput> { client.history(-1) }
        }

    @Test
    fun `what has no verdict is given up, and what did nothing needs no undoing`() =
        story {
            val server = server()
            val client = server.run { device() }
            client.accepted("INSERT INTO task(id, title) VALUES ('t1', 'one')")
            client.stop()
            client.execute("UPDATE task SET title = 'two'")
            assertEquals(Undone.GivenUp, client.undo(client.pending().single().id))
            assertEquals(listOf("one") to 0, client.titles() to client.pending().size)
            server.runs("UPDATE task SET title = 'same'")
            val same = client.accepted("UPDATE task SET title = 'same'")
            assertEquals(Undone.Nothing, client.undo(same))
            assertEquals(listOf("same"), client.titles())
        }

    @Test
    fun `what has changed since is not taken back, and the rows are shown`() =
        story {
            val server = server()
            val client = server.run { device() }
            val create = client.accepted("INSERT INTO task(id, title) VALUES ('t1', 'one')")
            val edit = client.accepted("UPDATE task SET title = 'two', rank = 5")
            client.stop()
            client.execute("UPDATE task SET title = 'later'")
            val (row) = refused<RejoinException.Changed> { client.undo(edit) }.rows
            assertEquals(listOf("task", "t1", listOf("title")), listOf(row.table, row.key, row.columns))
            assertEquals("two" to "later", row.wrote!!["title"] to row.present!!["title"])
            assertEquals(5L, row.wrote.getValue("rank"))
            assertEquals(listOf("later"), client.titles()) // All of it, or nothing.

            // One that is gone by somebody else.
            client.discard(client.pending().single().id)
            server.runs("DELETE FROM task")
            client.syncAndWait()
            val gone = refused<RejoinException.Changed> { client.undo(create) }.rows.single()
            assertNull(gone.present)
            assertTrue(gone.columns.isEmpty() && gone.wrote!!["title"] == "one", "$gone")
            refused<RejoinException.Changed> { client.undo(edit) }
        }

    @Test
    fun `what is parked, unknown, forgotten or was not undone cannot be taken back`() =
        story {
            val client = server().run { device() }
            val create = client.accepted("INSERT INTO task(id, title) VALUES ('t1', 'one')")
            client.accepted("INSERT INTO task(id, title) VALUES ('t2', 'refused')")
            refused<RejoinException.InvalidInput> { client.undo(client.pending().single().id) }
            refused<RejoinException.InvalidInput> { client.undo("no such id") }
            refused<RejoinException.InvalidInput> { client.redo(create) }
            client.accepted("UPDATE task SET rank = 1 WHERE id = 't1'")
            assertEquals(0, client.prune(HistoryBounds()))
            assertEquals(0, client.prune(HistoryBounds(age = 1.days)))
            assertEquals(1, client.prune(HistoryBounds(count = 1)))
            refused<RejoinException.InvalidInput> { client.undo(create) }
            assertEquals(1, client.prune(HistoryBounds(bytes = 0, age = Duration.INFINITE)))
            assertEquals(0, client.history(10).size)
            for (below in listOf(HistoryBounds(count = -1), HistoryBounds(bytes = -1), HistoryBounds(age = -(1.milliseconds)))) {
                refused<RejoinException.InvalidInput> { client.prune(below) }
            }
        }

    @Test
    fun `an action is taken back like any other write`() =
        story {
            val server = server()
            val actions = Actions { handler("rename") { context, _ -> context.execute("UPDATE task SET title = 'two'") } }
            val client = server.run { device(actions = actions) }
            client.accepted("INSERT INTO task(id, title) VALUES ('t1', 'one')")
            val id = client.perform("rename").id!!
            client.syncAndWait()
            assertEquals("rename", client.history(1).single().action)
            assertTrue(client.undo(id) is Undone.By)
            client.syncAndWait()
            assertEquals(listOf(listOf("one")), server.rows("SELECT title FROM task"))
        }
}
