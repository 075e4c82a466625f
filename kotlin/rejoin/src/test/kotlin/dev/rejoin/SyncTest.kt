/*
 * Methods that need a server, against a real server process.
 */
package dev.rejoin

import kotlinx.coroutines.async
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class SyncTest {
    @Test
    fun `remote changes are reported with keys`() =
        story {
            val server = server()
            val (phone, tablet) = server.run { device() to device() }
            tablet.sync.run()
            phone.adds("t1", "buy milk")
            phone.sync.run()
            val reported = async { tablet.changes("task").first { it.origin == ChangeOrigin.REMOTE } }
            var change: Change? = null
            while (change == null) {
                // Changes before the collector starts are not reported.
                tablet.sync.run()
                server.runs("UPDATE task SET rank = rank + 1")
                if (reported.isCompleted) change = reported.await()
            }
            assertEquals(listOf("task"), change.tables.map { it.name })
            assertEquals(listOf("t1"), change.tables.single().keys)
        }
}
