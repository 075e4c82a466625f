/*
 * Listeners: one notification per commit, local or remote, and none is missed.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.Query
import app.cash.sqldelight.db.SqlDriver
import dev.rejoin.RejoinClient
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.delay
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Duration.Companion.milliseconds

class ListenersTest {
    private val insert = "INSERT INTO note (body) VALUES ('x')"

    private suspend fun Story.notes(): Pair<RejoinClient, SqlDriver> {
        val client = local()
        client.schema.createTable("Note", "id INTEGER PRIMARY KEY, body TEXT")
        client.schema.createTable("other", "id TEXT")
        return client to RejoinSqlDriver(client)
    }

    private class Signals : Query.Listener {
        val received = Channel<Unit>(Channel.UNLIMITED)

        override fun queryResultsChanged() {
            received.trySend(Unit)
        }

        /** The number of notifications that have not been received, after all earlier commits were reported. */
        suspend fun rest(client: RejoinClient, driver: SqlDriver): Int {
            val flushed = Channel<Unit>(Channel.UNLIMITED)
            val flush = Query.Listener { flushed.trySend(Unit) }
            driver.addListener("other", listener = flush)
            client.execute("DELETE FROM other")
            flushed.receive()
            driver.removeListener("other", listener = flush)
            return generateSequence { received.tryReceive().getOrNull() }.count()
        }
    }

    @Test
    fun `commit after registration is never missed`() =
        story {
            repeat(30) {
                val (client, driver) = notes()
                val signals = Signals()
                // Also on a dispatcher that runs coroutines in place.
                val context = if (it % 2 == 0) Dispatchers.Default else Dispatchers.Unconfined
                withContext(context) { driver.addListener("note", listener = signals) }
                client.execute(insert)
                signals.received.receive()
                driver.close()
                client.shutdown()
            }
        }

    @Test
    fun `each commit notifies once, with table names in any case`() =
        story {
            val (client, driver) = notes()
            val signals = Signals()
            driver.addListener("NOTE", "other_key", listener = signals)
            driver.execute(null, insert, 0).await()
            driver.notifyListeners("note") // As generated code does after a write.
            assertEquals(1, signals.rest(client, driver))
            client.transaction { tx -> repeat(3) { tx.execute(insert) } }
            assertEquals(1, signals.rest(client, driver))
            driver.notifyListeners("note")
            assertEquals(0, signals.rest(client, driver))
        }

    @Test
    fun `notifyListeners notifies keys that are not tables`() =
        story {
            val (client, driver) = notes()
            val signals = Signals()
            driver.addListener("clock", "note", listener = signals)
            repeat(2) {
                driver.notifyListeners("clock", "note")
                signals.received.receive()
            }
            assertEquals(0, signals.rest(client, driver))
            // The key becomes a table: from then on its commits notify.
            client.schema.createTable("clock", "id TEXT")
            client.execute("INSERT INTO clock VALUES ('x')")
            signals.received.receive()
        }

    @Test
    fun `removed listener is not notified`() =
        story {
            val (client, driver) = notes()
            val (kept, removed) = Signals() to Signals()
            driver.addListener("note", listener = kept)
            driver.addListener("note", listener = removed)
            driver.removeListener("note", listener = removed)
            client.execute(insert)
            kept.received.receive()
            assertEquals(0, removed.rest(client, driver))
            driver.close()
            client.execute(insert)
            delay(50.milliseconds)
            assertNull(kept.received.tryReceive().getOrNull())
        }

    @Test
    fun `throwing listener does not stop the others`() =
        story {
            val (client, driver) = notes()
            val thrown = CompletableDeferred<Throwable>()
            val before = Thread.getDefaultUncaughtExceptionHandler()
            Thread.setDefaultUncaughtExceptionHandler { _, error -> thrown.complete(error) }
            try {
                val signals = Signals()
                driver.addListener("note", listener = { error("the listener's own") })
                driver.addListener("note", listener = signals)
                repeat(2) {
                    client.execute(insert)
                    signals.received.receive()
                }
                assertTrue("the listener's own" in thrown.await().toString())
            } finally {
                Thread.setDefaultUncaughtExceptionHandler(before)
            }
        }

    @Test
    fun `listener of a closed client is accepted`() =
        story {
            val (client, driver) = notes()
            client.shutdown()
            val signals = Signals()
            driver.addListener("note", listener = signals)
            driver.notifyListeners("note")
            driver.removeListener("note", listener = signals)
            assertNull(signals.received.tryReceive().getOrNull())
        }
}
