/*
 * Beginning anew in the same file: nobody's work goes unnamed, and the next user takes it.
 */
package dev.rejoin

import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class ResetTest {
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
}
