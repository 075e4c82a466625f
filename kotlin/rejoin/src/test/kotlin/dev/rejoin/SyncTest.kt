/*
 * Each method that concerns the server, against a real one in a process of its own.
 */
package dev.rejoin

import kotlinx.coroutines.async
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class SyncTest {
    @Test
    fun `remote changes are told with their keys`() =
        story {
            val server = server()
            val (phone, tablet) = server.run { device() to device() }
            tablet.syncAndWait()
            phone.adds("t1", "buy milk")
            phone.syncAndWait()
            val told = async { tablet.changes("task").first { it.origin == ChangeOrigin.REMOTE } }
            var change: Change? = null
            while (change == null) {
                // Until the collector has begun nothing is told.
                tablet.syncAndWait()
                server.runs("UPDATE task SET rank = rank + 1")
                if (told.isCompleted) change = told.await()
            }
            assertEquals(listOf("task"), change.tables.map { it.name })
            assertEquals(listOf("t1"), change.tables.single().keys)
        }
}
