/*
 * Methods of the client that need no server, on the real engine.
 */
package dev.rejoin

import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
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
    fun `open creates the file and path is absolute`() =
        story {
            val file = file()
            val client = local(RejoinConfig(file))
            assertEquals(File(file).canonicalPath, client.path)
            assertTrue(File(file).length() > 0)
        }

    @Test
    fun `temporary files are separate and removed at shutdown`() =
        story {
            val (client, other) = List(2) { local(RejoinConfig.temporary()) }
            client.execute("INSERT INTO note VALUES ('n1', 'text')")
            val rows = listOf(client, other).map { device -> device.query("SELECT body FROM note") { it.string("body") } }
            assertEquals(listOf(listOf("text"), emptyList()), rows)
            val files = listOf(client, other).map { File(it.path) }
            assertTrue(files.all(File::isFile), files.toString())
            client.shutdown()
            other.shutdown()
            assertFalse(files.any { it.exists() || it.parentFile.exists() }, files.toString())
        }

    @Test
    fun `values beyond the engine's range are reported together`() =
        story {
            val wrong =
                RejoinConfig(file(), syncInterval = -(1.seconds), pushDebounce = -(1.nanoseconds), ackDeadline = Duration.INFINITE, pageSize = -5)
            val why = refused<RejoinException.Configuration> { RejoinClient.open(wrong) }
            assertEquals(
                "configuration: syncInterval: -1s is below zero; pushDebounce: -1ns is below zero; " +
                    "ackDeadline: Infinity is more than the engine counts; pageSize: -5 is below zero",
                why.reason,
            )
            // The engine receives the value and rejects it.
            val least = refused<RejoinException.Configuration> { RejoinClient.open(RejoinConfig(file(), transactionIdle = 1.nanoseconds)) }
            assertTrue("transaction_idle" in least.reason, least.reason)
        }

    @Test
    fun `negative timeout is rejected, fractions round up`() =
        story {
            val client = local()
            val calls: List<suspend (Duration) -> Any?> =
                listOf({ client.sync.run(it) }, { client.sync.firstSync(it) }, { client.queue.verdict("0", it) })
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
    fun `open of a non-database file throws Storage`() =
        story {
            val file = file().also { File(it).writeText("this is no database, and long enough to be one".repeat(100)) }
            refused<RejoinException.Storage> { RejoinClient.open(file) }
            refused<RejoinException.Storage> { RejoinClient.open("/nowhere/at/all.db") }
        }

    @Test
    fun `unsupported parameter is rejected by position and type`() =
        story {
            val why = refused<RejoinException.InvalidInput> { local().query("SELECT ?, ?", 1, listOf(1)) }
            assertTrue(why.reason.startsWith("parameter 2: SQLite holds no "), why.reason)
        }

    @Test
    fun `query maps rows by lambda or class, rejects writes`() =
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
    fun `close starts shutdown without waiting`() =
        story {
            val client = local().apply { use { it.execute("INSERT INTO note VALUES ('a', 'one')") } }
            client.shutdown() // Waits for the shutdown that close started.
            refused<RejoinException.Closed> { client.execute("DELETE FROM note") }
            assertFalse(holds(client.path))
        }

    /** Whether this process has the file open. */
    private fun holds(path: String): Boolean =
        File("/proc/self/fd").listFiles().orEmpty().any { runCatching { it.canonicalPath }.getOrNull() == path }
}

/** The exception of this type that [call] must throw. */
inline fun <reified E : RejoinException> refused(call: () -> Any?): E {
    val thrown = runCatching { call() }.exceptionOrNull()
    assertTrue(thrown is E, "$thrown")
    return thrown as E
}
