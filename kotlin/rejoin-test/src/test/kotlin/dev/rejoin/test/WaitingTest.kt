/*
 * Temporary clients and waiting: what is removed, what is awaited, and the errors of a failed wait or a wrong name.
 */
package dev.rejoin.test

import dev.rejoin.ParkReason
import dev.rejoin.RejoinException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.test.runTest
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

class WaitingTest {
    /** A manifest that is written by hand: no hash, no owner, an integer key, defaults. */
    private val schema =
        """{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "item",
            "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
            "columns": [{"name": "id", "db_type": "integer", "logical_type": "int64", "is_primary_key": true},
              {"name": "title", "db_type": "text", "logical_type": "string", "nullable": true, "sqlite_default_sql": "'it''s new'"}]}]}"""

    private val short = 1.seconds

    @Test
    fun `testClient removes its file, also after an exception and a cancellation`() =
        test {
            val folders = mutableListOf<File>()
            val left = testClient(schema) { client ->
                folders += File(client.path).parentFile
                client.execute("INSERT INTO item(id) VALUES (1)")
                assertTrue(folders.single().exists())
                client.query("SELECT title FROM item") { it.string(0) }
            }
            assertEquals(listOf("it's new"), left)
            val own = IllegalStateException("from the body")
            val thrown = runCatching { testClient { client -> folders += File(client.path).parentFile; throw own } }.exceptionOrNull()
            assertSame(own, thrown)
            val inside = CompletableDeferred<Unit>()
            val job =
                launch {
                    testClient { client ->
                        folders += File(client.path).parentFile
                        inside.complete(Unit)
                        awaitCancellation()
                    }
                }
            inside.await()
            job.cancelAndJoin()
            assertEquals(3, folders.toSet().size)
            for (folder in folders) assertFalse(folder.exists(), "$folder")
        }

    @Test
    fun `schema written by hand syncs, integer keys are in order`() =
        test {
            val server = FakeServer(schema)
            server.testClient("ana") { ana ->
                ana.execute("INSERT INTO item(id, title) VALUES (10, NULL), (9, 'nine')")
                ana.awaitUpToDate()
                server.changeRow("item", 9, "title" to "changed")
                server.changeRow("item", 11)
                server.testClient("bob") { bob ->
                    bob.awaitUpToDate()
                    val expected = listOf(9L to "changed", 10L to null, 11L to "it's new")
                    assertEquals(expected, bob.query("SELECT id, title FROM item ORDER BY id") { it.long(0) to it.stringOrNull(1) })
                    assertEquals(expected, server.rows("item").map { it.long("id") to it.stringOrNull("title") })
                }
            }
        }

    @Test
    fun `failed wait for rows names the query and the last result`() =
        test {
            testClient(schema) { client ->
                val sql = "SELECT title FROM item"
                client.testWatch(sql, timeout = short) {
                    assertTrue(awaitRows().isEmpty())
                    client.execute("INSERT INTO item(id, title) VALUES (1, 'milk')")
                    val error = refused<AssertionError> { awaitRows("two items") { it.size == 2 } }
                    val expected = "$sql: expected two items within $short; last result: [{title=milk}]"
                    assertTrue(error.message.orEmpty().startsWith(expected), error.message)
                    client.shutdown()
                    val ended = refused<AssertionError> { awaitRows() }
                    assertTrue("Complete" in ended.message.orEmpty(), ended.message)
                }
                val broken = refused<AssertionError> { testClient { it.testWatch("SELECT nothing") { awaitRows() } } }
                assertTrue("SELECT nothing" in broken.message.orEmpty(), broken.message)
            }
        }

    @Test
    fun `failed wait for a sync names status, error and queue`() =
        test {
            val server = FakeServer(schema).apply { offline = true }
            server.testClient { client ->
                client.execute("INSERT INTO item(id) VALUES (7)")
                val offline = refused<AssertionError> { client.awaitUpToDate(short) }.message.orEmpty()
                for (part in listOf("everything is pushed and pulled", "status: ", "Offline", "the fake server is offline", "INSERT item 7")) {
                    assertTrue(part in offline, offline)
                }
                server.offline = false
                val accepted = refused<AssertionError> { client.awaitParked(short) }.message.orEmpty()
                assertTrue("a mutation is parked" in accepted && "queue: []" in accepted, accepted)
            }
            testClient(schema) { client -> refused<RejoinException.InvalidInput> { client.awaitUpToDate() } }
        }

    @Test
    fun `failed wait names the exception of a rule, which decides nothing`() =
        test {
            val server = FakeServer(schema)
            server.reject("item", "wrong") { it.boolean("colour") }
            server.testClient { client ->
                client.execute("INSERT INTO item(id) VALUES (1)")
                val error = refused<AssertionError> { client.awaitParked(short) }.message.orEmpty()
                assertTrue("colour" in error, error)
                assertEquals(0, server.rows("item").size)
                server.acceptAll()
                client.awaitUpToDate()
                assertEquals(1, server.rows("item").size)
            }
        }

    @Test
    fun `waits use real time inside runTest`() =
        runTest {
            val server = FakeServer(schema)
            server.reject("item", "no more items")
            server.testClient(change = { copy(syncInterval = 1.hours) }) { client ->
                delay(1.hours) // Virtual.
                client.testWatch("SELECT id FROM item") {
                    assertTrue(awaitRows().isEmpty())
                    client.execute("INSERT INTO item(id) VALUES (1)")
                    awaitRows("the local row") { it.size == 1 }
                    assertEquals(ParkReason.REJECTED, client.awaitParked().reason)
                    awaitRows("no row") { it.isEmpty() }
                    client.awaitUpToDate()
                }
            }
        }

    @Test
    fun `wrong names are errors of the test`() {
        val server = FakeServer(schema)
        for (
            (text, call) in
            mapOf<String, () -> Unit>(
                "no synced table nothing" to { server.rows("nothing") },
                "no synced table other" to { server.reject("other", "because") },
                "no column colour" to { server.changeRow("item", 1, "colour" to 1) },
                "column title: give null" to { server.changeRow("item", 1, "title" to 'c') },
                "has no row 1" to { server.deleteRow("item", 1) },
            )
        ) {
            val message = assertThrows(IllegalArgumentException::class.java) { call() }.message.orEmpty()
            assertTrue(text in message, message)
        }
        assertEquals(0, server.rows("item").size)
    }
}
