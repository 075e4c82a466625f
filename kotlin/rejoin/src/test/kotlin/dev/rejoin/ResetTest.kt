/*
 * Reset of a file: unnamed mutations are kept, and the next user can use the file.
 */
package dev.rejoin

import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class ResetTest {
    @Test
    fun `reset that keeps the queue fetches rows again`() =
        story {
            val server = server()
            val client = server.run { device() }
            client.adds("t1", "accepted")
            client.sync.run()
            client.stop()
            client.adds("t2", "waits")
            val watch = client.watch("SELECT title FROM task ORDER BY id") { it.string(0) }
            assertEquals(2, watch.first().size)
            assertEquals(emptyList<PendingMutation>(), client.storage.reset(Keep.PENDING).givenUp)
            assertEquals(listOf("waits"), client.titles())
            client.sync.run()
            assertEquals(listOf("accepted", "waits"), watch.first())
            assertEquals(listOf(listOf("2")), server.rows("SELECT count(*) FROM task"))
        }
}
