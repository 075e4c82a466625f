/*
 * Each method of the client that needs no server, on the real engine.
 */
package dev.rejoin

import kotlinx.coroutines.flow.first
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.nanoseconds
import kotlin.time.Duration.Companion.seconds

class ClientTest {
    @Serializable
    data class Note(val id: String, val body: String?)

    @Test
    fun `open makes the file, and path is its full name`() =
        story {
            val file = file()
            val client = local(RejoinConfig(file))
            assertEquals(File(file).canonicalPath, client.path)
            assertTrue(File(file).length() > 0)
        }

    @Test
    fun `open names every problem of the configuration`() =
        story {
            val wrong = RejoinConfig(file(), serverUrl = "ftp://host", pageSize = 5, ackDeadline = 1.milliseconds)
            val why = refused<RejoinException.Configuration> { RejoinClient.open(wrong) }
            for (field in listOf("server_url", "page_size", "ack_deadline")) assertTrue(field in why.reason, why.reason)
            val negative = refused<RejoinException.Configuration> { RejoinClient.open(RejoinConfig(file(), readers = -1)) }
            assertEquals("configuration: readers: -1 is below zero", negative.reason)
        }

    @Test
    fun `durations and counts that the engine cannot be told are named all at once`() =
        story {
            val wrong =
                RejoinConfig(file(), syncInterval = -(1.seconds), pushDebounce = -(1.nanoseconds), ackDeadline = Duration.INFINITE, pageSize = -5)
            val why = refused<RejoinException.Configuration> { RejoinClient.open(wrong) }
            assertEquals(
                "configuration: syncInterval: -1s is below zero; pushDebounce: -1ns is below zero; " +
                    "ackDeadline: Infinity is more than the engine counts; pageSize: -5 is below zero",
                why.reason,
            )
            // The engine is told, and judges.
            val least = refused<RejoinException.Configuration> { RejoinClient.open(RejoinConfig(file(), transactionIdle = 1.nanoseconds)) }
            assertTrue("transaction_idle" in least.reason, least.reason)
        }

    @Test
    fun `a timeout below zero is refused, and parts of a millisecond count as a whole one`() =
        story {
            val client = local()
            val calls: List<suspend (Duration) -> Any?> =
                listOf({ client.syncAndWait(it) }, { client.waitForFirstSync(it) }, { client.verdict("0", it) })
            for (call in calls) {
                for (below in listOf(-(1.seconds), -(1.nanoseconds), -Duration.INFINITE)) {
                    val why = refused<RejoinException.InvalidInput> { call(below) }
                    assertTrue(why.reason.startsWith("a timeout of $below"), why.reason)
                }
            }
            for ((timeout, millis) in listOf(
                null to null,
                Duration.ZERO to 0u,
                1.nanoseconds to 1u,
                1.milliseconds to 1u,
                1_000_001.nanoseconds to 2u,
                Duration.INFINITE to UInt.MAX_VALUE,
            )) {
                assertEquals(millis, timeout.toTimeout(), "$timeout")
            }
        }

    @Test
    fun `open of a file that is no database is a storage error`() =
        story {
            val file = file().also { File(it).writeText("this is no database, and long enough to be one".repeat(100)) }
            refused<RejoinException.Storage> { RejoinClient.open(file) }
            refused<RejoinException.Storage> { RejoinClient.open("/nowhere/at/all.db") }
        }

    @Test
    fun `every kind of value comes back as it went in`() =
        story {
            val client = local()
            val bytes = byteArrayOf(0, -1, 127)
            val row =
                client.query(
                    "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
                    null, true, 7.toByte(), (-300).toShort(), Int.MIN_VALUE, Long.MAX_VALUE, 0.5f, -0.0, "\u65e5\u672c \uD83D\uDE00", bytes,
                ).first()
            assertNull(row[0])
            assertEquals(listOf(1L, 7L, -300L, Int.MIN_VALUE.toLong(), Long.MAX_VALUE), (1..5).map { row[it] })
            assertEquals(0.5, row[6])
            assertEquals((-0.0).toRawBits(), row.double(7).toRawBits())
            assertEquals("\u65e5\u672c \uD83D\uDE00", row[8])
            assertArrayEquals(bytes, row.bytes(9))
        }

    @Test
    fun `a parameter that SQLite cannot hold is refused by its place and type`() =
        story {
            val why = refused<RejoinException.InvalidInput> { local().query("SELECT ?, ?", 1, listOf(1)) }
            assertTrue(why.reason.startsWith("parameter 2: SQLite holds no "), why.reason)
        }

    @Test
    fun `query gives rows by lambda and by class, and refuses what writes`() =
        story {
            val client = local()
            assertEquals(1, client.execute("INSERT INTO note VALUES (?, ?)", "a", "one"))
            client.execute("INSERT INTO note VALUES (?, ?)", "b", null)
            assertEquals(listOf("a", "b"), client.query("SELECT id FROM note ORDER BY id") { it.string("id") })
            assertEquals(listOf(Note("a", "one"), Note("b", null)), client.query("SELECT * FROM note ORDER BY id").decode<Note>())
            assertTrue(client.query("SELECT * FROM note WHERE id = ?", "c").isEmpty())
            refused<RejoinException.InvalidInput> { client.query("DELETE FROM note RETURNING id") }
            val why = refused<RejoinException.InvalidInput> { client.query("SELECT nothing FROM note") }
            assertTrue("nothing" in why.reason, why.reason)
        }

    @Test
    fun `queryAll reads one state with several queries`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('a', 'one')")
            val (count, bodies) = client.queryAll(Statement("SELECT count(*) FROM note"), Statement("SELECT body FROM note WHERE id = ?", "a"))
            assertEquals(1L, count[0].long(0))
            assertEquals("one", bodies[0].string(0))
        }

    @Test
    fun `executeReturning writes and gives rows`() =
        story {
            val made = local().executeReturning("INSERT INTO note VALUES ('a', 'one') RETURNING id, length(body) AS n")
            assertEquals(3, made[0].int("n"))
        }

    @Test
    fun `executeBatch runs several statements or none`() =
        story {
            val client = local()
            client.executeBatch("INSERT INTO note VALUES ('a', 'one'); INSERT INTO note VALUES ('b', 'two');")
            assertEquals(listOf("one", "two"), client.notes())
            refused<RejoinException.InvalidInput> { client.executeBatch("DELETE FROM note; INSERT INTO note VALUES (nonsense);") }
            assertEquals(listOf("one", "two"), client.notes())
        }

    @Test
    fun `batch counts the rows of each statement, and does all or none`() =
        story {
            val client = local()
            val insert = "INSERT INTO note VALUES (?, ?)"
            val changes = client.batch(listOf(Statement(insert, "a", "x"), Statement(insert, "b", "x"), Statement("UPDATE note SET body = 'y'")))
            assertEquals(listOf(1L, 1L, 2L), changes)
            runCatching { client.batch(listOf(Statement("DELETE FROM note"), Statement(insert, "a", "x"), Statement("nonsense"))) }
                .exceptionOrNull().let { assertTrue(it is RejoinException, "$it") }
            assertEquals(listOf("y", "y"), client.notes())
        }

    @Test
    fun `the app's own tables, columns and indexes are made`() =
        story {
            val client = local()
            client.alterTable("note", "stars INTEGER NOT NULL DEFAULT 3")
            client.execute("INSERT INTO note(id) VALUES ('a')")
            assertEquals(3, client.query("SELECT stars FROM note")[0].int(0))
            val index = client.createIndex("note", "stars", "body")
            assertEquals(1, client.query("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?", index).size)
        }

    @Test
    fun `a checkpoint moves the log into the file`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('a', 'one')")
            for (mode in CheckpointMode.entries) {
                val done = client.checkpoint(mode)
                assertTrue(done.busy || done.pages == done.moved || done.pages < 0, "$mode: $done")
            }
            assertEquals(0, File(client.path + "-wal").length())
        }

    @Test
    fun `a suspended client lets go of its file and refuses work until it resumes`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('a', 'one')")
            assertTrue(holds(client.path))
            client.suspend()
            assertFalse(holds(client.path))
            refused<RejoinException.Suspended> { client.query("SELECT 1") }
            refused<RejoinException.Suspended> { client.execute("DELETE FROM note") }
            client.resume()
            assertEquals(listOf("one"), client.notes())
        }

    @Test
    fun `a client that was shut down says so, and its file opens again`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('a', 'one')")
            client.shutdown()
            client.shutdown()
            assertFalse(holds(client.path))
            refused<RejoinException.Ended> { client.query("SELECT 1") }
            refused<RejoinException.Ended> { client.transaction { } }
            refused<RejoinException.Ended> { client.watch("SELECT 1").first() }
            assertEquals(listOf("one"), local(RejoinConfig(client.path)).notes())
        }

    @Test
    fun `close begins the end without waiting for it`() =
        story {
            val client = local().apply { use { it.execute("INSERT INTO note VALUES ('a', 'one')") } }
            client.shutdown() // Waits for the end that close began.
            refused<RejoinException.Ended> { client.execute("DELETE FROM note") }
            assertFalse(holds(client.path))
        }

    @Test
    fun `a file that is open already is shared`() =
        story {
            val one = local()
            val other = RejoinClient.open(one.path)
            one.execute("INSERT INTO note VALUES ('a', 'one')")
            assertEquals(listOf("one"), other.notes())
            refused<RejoinException.Configuration> { RejoinClient.open(RejoinConfig(one.path, readers = 1)) }
        }

    @Test
    fun `diagnose is one bundle of JSON without the app's data`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('a', 'a secret of the user')")
            val bundle = client.diagnose()
            assertTrue(Json.parseToJsonElement(bundle).jsonObject.isNotEmpty())
            assertFalse("secret" in bundle)
        }

    /** Whether this process has the file open. */
    private fun holds(path: String): Boolean =
        File("/proc/self/fd").listFiles().orEmpty().any { runCatching { it.canonicalPath }.getOrNull() == path }
}

/** The exception of this kind that [call] must throw. */
inline fun <reified E : RejoinException> refused(call: () -> Any?): E {
    val thrown = runCatching { call() }.exceptionOrNull()
    assertTrue(thrown is E, "$thrown")
    return thrown as E
}
