/*
 * Beginning anew in the same file: nobody's work goes unnamed, and the next user takes it.
 */
package dev.rejoin

import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class ResetTest {
    @Test
    fun `what waits goes only by name, and what went is told with its values`() =
        story {
            val client = server().run { device() }
            client.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
            client.execute("INSERT INTO note VALUES ('n', 'mine alone')")
            client.adds("t1", "accepted")
            client.adds("t2", "refused")
            client.syncAndWait()
            client.stop()
            client.adds("t3", "waits")
            val ids = client.pending().map { it.id }
            assertEquals(2L, refused<RejoinException.Unsent> { client.reset(Keep.NOTHING) }.waiting)
            assertEquals(1L, refused<RejoinException.Unsent> { client.reset(Keep.LOCAL, giveUp = ids.take(1)) }.waiting)
            refused<RejoinException.InvalidInput> { client.reset(Keep.PENDING, giveUp = ids) }
            refused<RejoinException.InvalidInput> { client.reset(Keep.LOCAL, giveUp = ids + "no such id") }
            assertEquals(listOf("accepted", "waits"), client.titles())

            val gone = client.reset(Keep.LOCAL, giveUp = ids)
            assertEquals(ids, gone.givenUp.map { it.id })
            assertEquals(setOf("refused", "waits"), gone.givenUp.map { it.rows.single().columns.single { cell -> cell.name == "title" }.newValue }.toSet())
            assertEquals(2L to 0L, gone.rows to gone.localRows)
            assertEquals(listOf(0, 0, 0), listOf(client.titles().size, client.pending().size, client.history(10).size))
            assertEquals(listOf("mine alone"), client.notes())
            assertEquals(ResetReport(emptyList(), 0, 1), client.reset(Keep.NOTHING))
            assertEquals(emptyList<String>(), client.notes())
        }

    @Test
    fun `with the queue kept the server's rows come anew, and watches go on`() =
        story {
            val server = server()
            val client = server.run { device() }
            client.adds("t1", "accepted")
            client.syncAndWait()
            client.stop()
            client.adds("t2", "waits")
            val watch = client.watch("SELECT title FROM task ORDER BY id") { it.string(0) }
            assertEquals(2, watch.first().size)
            assertEquals(emptyList<PendingMutation>(), client.reset(Keep.PENDING).givenUp)
            assertEquals(listOf("waits"), client.titles())
            client.syncAndWait()
            assertEquals(listOf("accepted", "waits"), watch.first())
            assertEquals(listOf(listOf("2")), server.rows("SELECT count(*) FROM task"))
        }

    @Test
    fun `another user takes the file when what waits was given up by name`() =
        story {
            val server = server()
            var user = "ana"
            val client = server.run { device(tokens = { token(user) }) }
            client.adds("t1", "of ana")
            client.syncAndWait()
            client.stop()
            client.adds("t2", "waits")
            user = "bea"
            client.credentialsChanged()
            val why = refused<RejoinException.WrongUser> { client.syncAndWait() }
            assertTrue(why.reason.isNotEmpty())
            assertEquals(1L, refused<RejoinException.Unsent> { client.reset(Keep.LOCAL) }.waiting)
            client.reset(Keep.LOCAL, giveUp = client.pending().map { it.id })
            client.adds("t3", "of bea")
            client.syncAndWait()
            assertEquals(listOf("of bea"), client.titles())
            assertEquals(listOf(listOf("ana", "of ana"), listOf("bea", "of bea")), server.rows("SELECT user_id, title FROM task ORDER BY id"))
        }
}
