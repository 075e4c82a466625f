/*
 * The app's callbacks (tokens, transport, log) and the handling of their exceptions.
 */
package dev.rejoin

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.net.ConnectException
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration.Companion.seconds

class CallbackTest {
    @Test
    fun `throwing token provider is retried, local work continues`() =
        story {
            val server = server()
            val broken = AtomicBoolean(true)
            val client = server.run { device(tokens = { if (broken.get()) throw IllegalStateException("keychain locked") else token("u1") }) }
            client.adds("t1", "buy milk")
            refused<RejoinException> { client.sync.run() }
            assertEquals(listOf("buy milk"), client.titles())
            broken.set(false)
            client.sync.credentialsChanged()
            assertEquals(0, client.sync.run().stillPending)
        }

    @Test
    fun `token provider is an object, a lambda or a function value`() =
        story {
            val server = server()
            val refreshes = mutableListOf<Boolean>()
            val function: suspend (Boolean) -> String? = { refresh -> refreshes.add(refresh).let { server.token("u1") } }
            val byObject =
                object : TokenProvider {
                    override suspend fun token(refresh: Boolean): String? = function(refresh)
                }
            val clients =
                with(server) {
                    listOf(
                        RejoinClient.open(config(file()), tokens = byObject),
                        RejoinClient.open(config(file()), tokens = { refresh -> function(refresh) }),
                        RejoinClient.open(config(file()), tokens = function),
                    )
                }
            clients.forEachIndexed { number, client ->
                client.adds("t$number", "buy milk")
                assertEquals(0, client.sync.run().stillPending)
                assertTrue(refreshes.size > number, "$refreshes")
                client.shutdown()
            }
            assertEquals(listOf(listOf("3")), server.rows("SELECT count(*) FROM task"))
        }

    @Test
    fun `custom transport carries all requests`() =
        story {
            val server = server()
            val transport = JdkTransport()
            val client = server.run { device(transport = transport) }
            client.adds("t1", "buy milk")
            assertEquals(0, client.sync.run().stillPending)
            assertEquals(listOf(listOf("buy milk")), server.rows("SELECT title FROM task"))
            assertTrue(transport.sent.get() >= 2, "${transport.sent}")
            client.sync.suspend()
            client.sync.resume()
            assertTrue(transport.disconnected.get() >= 1)
        }

    @Test
    fun `token provider and transport are called while the app blocks all threads of Default`() =
        story {
            val server = server()
            val client = server.run { device(transport = JdkTransport()) }
            client.adds("t1", "buy milk")
            val others = Runtime.getRuntime().availableProcessors().coerceAtLeast(2) - 1
            val (blocked, synced) = CountDownLatch(others) to CountDownLatch(1)
            val app = CoroutineScope(Dispatchers.Default)
            repeat(others) {
                app.launch {
                    blocked.countDown()
                    synced.await()
                }
            }
            val report =
                app.async {
                    blocked.await()
                    runCatching { runBlocking { client.sync.run(20.seconds) } }.also { synced.countDown() }
                }
            assertEquals(0, report.await().getOrThrow().stillPending)
        }

    @Test
    fun `throwing transport is offline and loses nothing`() =
        story {
            val server = server()
            var failure: Throwable? = ConnectException("no route")
            val client = server.run { device(transport = JdkTransport { failure }) }
            client.adds("t1", "buy milk")
            refused<RejoinException.Offline> { client.sync.run() }
            for (other in listOf(RejoinException.Offline("no network"), IllegalStateException("broken"), NotImplementedError("not yet"))) {
                failure = other
                refused<RejoinException> { client.sync.run() }
            }
            failure = null
            assertEquals(0, client.sync.run().stillPending)
            assertEquals(listOf(listOf("buy milk")), server.rows("SELECT title FROM task"))
        }

    @Test
    fun `logger receives records and its exceptions are ignored`() =
        story {
            val records = ConcurrentLinkedQueue<LogRecord>()
            val logged = CompletableDeferred<Unit>()
            try {
                Rejoin.setLogger(LogLevel.TRACE) {
                    records.add(it)
                    logged.complete(Unit)
                    throw IllegalStateException("logger is broken")
                }
                val server = server()
                val client = server.run { device() }
                server.runs("INSERT INTO task(id, user_id, title) VALUES ('t1', 'u1', 'from elsewhere')")
                client.sync.run()
                logged.await() // Applying the rows logs a line.
                assertEquals(listOf("from elsewhere"), client.titles())
                assertTrue(records.all { it.target.startsWith("rejoin") && it.text.isNotEmpty() }, "$records")
            } finally {
                Rejoin.setLogger(LogLevel.ERROR, null)
            }
        }
}
