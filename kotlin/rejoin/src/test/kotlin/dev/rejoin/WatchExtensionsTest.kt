/*
 * Watched queries as typed rows, as one value, and as results, on the real engine.
 */
package dev.rejoin

import app.cash.turbine.ReceiveTurbine
import app.cash.turbine.test
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.yield
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Duration.Companion.seconds

class WatchExtensionsTest {
    @Serializable
    private data class Note(val id: String, val body: String)

    private val notes = "SELECT id, body FROM note ORDER BY id"

    private suspend fun Story.empty() = RejoinClient.open(RejoinConfig(file()))

    private suspend fun RejoinClient.createsNotes(body: String) {
        schema.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
        execute("INSERT INTO note VALUES ('a', ?)", body)
    }

    /** Results until one succeeds with the single body [body]; returns the failures before it. */
    private suspend fun ReceiveTurbine<Result<RowBuffer>>.failuresUntil(body: String): List<Throwable> {
        val failures = mutableListOf<Throwable>()
        while (true) {
            val result = awaitItem()
            result.exceptionOrNull()?.let(failures::add)
            if (result.getOrNull()?.map { it.string("body") } == listOf(body)) return failures
        }
    }

    @Test
    fun `watch with a type argument decodes its rows`() =
        story {
            val client = local()
            val database: RejoinDatabase = client
            val typed: Flow<List<Note>> = database.watch<Note>("SELECT id, body FROM note WHERE body <> ? ORDER BY id", "hidden")
            typed.test(60.seconds) {
                assertEquals(emptyList<Note>(), awaitItem())
                client.execute("INSERT INTO note VALUES ('a', 'one')")
                assertEquals(listOf(Note("a", "one")), awaitItem())
                cancelAndIgnoreRemainingEvents()
            }
            // The member is unchanged.
            val rows: RowBuffer = client.watch(notes).first()
            assertEquals("one", rows[0].string("body"))
        }

    @Test
    fun `watchOne emits the row, its changes and its absence`() =
        story {
            val client = local()
            client.watchOne<Note>("SELECT id, body FROM note WHERE id = ?", "a").test(60.seconds) {
                assertEquals(null, awaitItem())
                client.execute("INSERT INTO note VALUES ('b', 'other')")
                client.execute("INSERT INTO note VALUES ('a', 'one')")
                assertEquals(Note("a", "one"), awaitItem())
                client.execute("UPDATE note SET body = 'two' WHERE id = 'a'")
                assertEquals(Note("a", "two"), awaitItem())
                client.execute("DELETE FROM note")
                assertEquals(null, awaitItem())
                cancelAndIgnoreRemainingEvents()
            }
        }

    @Test
    fun `watchOne with map ignores further rows and equal values`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('a', 'one')")
            client.watchOne("SELECT body, id FROM note ORDER BY id") { it.string("body").length }.test(60.seconds) {
                assertEquals(3, awaitItem())
                client.execute("INSERT INTO note VALUES ('b', 'another')")
                client.execute("UPDATE note SET body = 'two' WHERE id = 'a'")
                // A watch of the same table has seen both commits, so an emission for them would have arrived.
                client.watch("SELECT body FROM note WHERE body = 'two'").first { it.size == 1 }
                client.execute("UPDATE note SET body = 'three' WHERE id = 'a'")
                assertEquals(5, awaitItem())
                cancelAndIgnoreRemainingEvents()
            }
        }

    @Test
    fun `watchResults fails until its table exists and is filled`() =
        story {
            val client = empty()
            client.watchResults("SELECT body FROM note").test(60.seconds) {
                assertTrue(awaitItem().exceptionOrNull() is RejoinException.InvalidInput)
                delay(1.2.seconds) // The additional attempt is over: the commit alone causes the next one.
                client.createsNotes("one")
                assertEquals(emptyList<Throwable>(), failuresUntil("one"))
                cancelAndIgnoreRemainingEvents()
            }
            client.shutdown()
        }

    @Test
    fun `watchResults recovers from a dropped table, again and again`() =
        story {
            val client = empty()
            client.createsNotes("round 0")
            client.watchResults("SELECT body FROM note").test(60.seconds) {
                for (round in 1..3) {
                    assertEquals(emptyList<Throwable>(), failuresUntil("round ${round - 1}"))
                    client.execute("DROP TABLE note")
                    assertTrue(awaitItem().exceptionOrNull() is RejoinException.InvalidInput)
                    // Commits that do not resolve the failure do not emit it again.
                    client.schema.createTable("other$round", "id TEXT PRIMARY KEY")
                    client.execute("INSERT INTO other$round VALUES ('x')")
                    client.createsNotes("round $round")
                }
                assertEquals(emptyList<Throwable>(), failuresUntil("round 3"))
                client.shutdown()
                awaitComplete()
            }
        }

    @Test
    fun `watchResults completes at shutdown while its query fails`() =
        story {
            val client = empty()
            val results = client.watchResults("SELECT body FROM note")
            results.test(60.seconds) {
                assertTrue(awaitItem().isFailure)
                delay(1.2.seconds)
                client.shutdown()
                awaitComplete()
            }
            results.test(60.seconds) { awaitComplete() } // Closed from the start.
        }

    @Test
    fun `watchResults retries after suspend and resume`() =
        story {
            val client = empty()
            client.watchResults("SELECT body FROM note").test(60.seconds) {
                assertTrue(awaitItem().isFailure)
                client.sync.suspend()
                client.sync.resume()
                client.createsNotes("one")
                assertEquals(emptyList<Throwable>(), failuresUntil("one"))
                cancelAndIgnoreRemainingEvents()
            }
            client.shutdown()
        }

    @Test
    fun `watchResults decodes rows, a wrong row is a failure`() =
        story {
            val client = local()
            client.watchResults<Note>(notes).test(60.seconds) {
                assertEquals(emptyList<Note>(), awaitItem().getOrThrow())
                client.execute("INSERT INTO note VALUES ('a', NULL)")
                assertTrue(awaitItem().exceptionOrNull() is RejoinException.InvalidInput)
                client.execute("UPDATE note SET body = 'one'")
                assertEquals(listOf(Note("a", "one")), awaitItem().getOrThrow())
                cancelAndIgnoreRemainingEvents()
            }
        }

    @Test
    fun `watchResults passes cancellation and the collector's exceptions on`() =
        story {
            val client = local()
            class Own : Exception()
            val thrown = runCatching { client.watchResults(notes).collect { throw Own() } }.exceptionOrNull()
            assertTrue(thrown is Own, "$thrown")
            val refusing = runCatching { client.watchResults(notes).collect { throw RejoinException.Storage("from the collector") } }
            assertTrue(refusing.exceptionOrNull() is RejoinException.Storage)
            for (sql in listOf(notes, "SELECT nothing FROM note")) {
                val received = mutableListOf<Result<RowBuffer>>()
                var end: Throwable? = null
                val job = launch { runCatching { client.watchResults(sql).collect { received.add(it) }; awaitCancellation() }.onFailure { end = it } }
                while (received.isEmpty()) yield()
                job.cancel()
                job.join()
                assertTrue(end is CancellationException && received.size == 1, "$end, $received")
            }
        }
}
