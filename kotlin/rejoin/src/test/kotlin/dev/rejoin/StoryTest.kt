/*
 * End-to-end tests on the real engine against a real server process.
 */
package dev.rejoin

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.transformWhile
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicReference
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

class StoryTest {
    @Test
    fun `slow collector gets the latest of 1000 changes`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('n', '0')")
            val reader =
                async {
                    client.watch("SELECT body FROM note") { it.string(0).toInt() }
                        .transformWhile { (number) ->
                            emit(number)
                            delay(3.milliseconds)
                            number < 1_000
                        }.toList()
                }
            for (number in 1..1_000) client.execute("UPDATE note SET body = ?", "$number")
            val seen = reader.await()
            assertEquals(1_000, seen.last())
            assertEquals(seen.sorted().distinct(), seen)
            assertTrue(seen.size < 1_000, "nothing was skipped: ${seen.size}")
        }

    private class Own(where: String) : RuntimeException(where)

    @Test
    fun `callback exception affects only its own call`() =
        story {
            val server = server()
            val broken = AtomicReference<String?>(null)
            fun maybe(where: String) = broken.get().let { if (it == where) throw Own(where) }
            val plain = server.run { device() }
            val client = server.run { device(tokens = { maybe("token"); token("u1") }) }
            val carried =
                server.run {
                    device(
                        transport =
                            object : HttpTransport {
                                override suspend fun send(request: HttpRequest): HttpResponse = throw Own("send")

                                override fun disconnect() = throw Own("disconnect")
                            },
                    )
                }
            Rejoin.setLogger(LogLevel.TRACE) { throw Own("log") }
            try {
                for (device in listOf(client, carried)) device.adds("t-${device.path.hashCode()}", "local work")

                // Callbacks that the engine waits for: the call fails, the next one succeeds.
                broken.set("token")
                refused<RejoinException> { client.sync.run() }
                broken.set(null)
                client.sync.credentialsChanged()
                assertEquals(0, client.sync.run().stillPending)
                refused<RejoinException> { carried.sync.run() }
                carried.sync.suspend()
                carried.sync.resume()
                assertEquals(1, carried.titles().size)

                // Callbacks of the Kotlin layer: their exceptions reach the caller unchanged.
                for (call in listOf<suspend () -> Any?>(
                    { client.transaction { throw Own("body") } },
                    { client.transaction { tx -> tx.savepoint { throw Own("savepoint") } } },
                    { client.read { throw Own("read") } },
                    { client.query("SELECT * FROM task") { throw Own("row") } },
                    { client.watch("SELECT * FROM task") { throw Own("watched row") }.first() },
                    { client.watch("SELECT * FROM task").collect { throw Own("collector") } },
                    { client.status.collect { throw Own("status") } },
                )) {
                    val thrown = runCatching { call() }.exceptionOrNull()
                    assertTrue(thrown is Own, "$thrown")
                }
                val thrown = async { runCatching { client.changes().collect { throw Own("change") } }.exceptionOrNull() }
                while (!thrown.isCompleted) client.execute("UPDATE task SET rank = rank + 1").also { delay(1.milliseconds) }
                assertTrue(thrown.await() is Own)
            } finally {
                Rejoin.setLogger(LogLevel.ERROR, null)
            }

            // Everything still works afterwards.
            client.sync.run()
            plain.sync.run()
            assertEquals(client.titles(), plain.titles())
            assertEquals(1, client.transaction { it.execute("UPDATE task SET title = 'still here'") })
        }

    @Test
    fun `hundred concurrent callers all complete`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('sum', '0')")
            val answers =
                List(100) { caller ->
                    async(Dispatchers.IO) {
                        repeat(10) { round ->
                            when ((caller + round) % 5) {
                                0 -> client.execute("INSERT INTO note VALUES (?, 'x')", "$caller-$round")
                                1 -> assertEquals(1, client.query("SELECT * FROM note WHERE id = 'sum'").size)
                                2 -> client.watch("SELECT count(*) FROM note") { it.long(0) }.first()
                                3 -> client.read { it.query("SELECT count(*) FROM note") }
                            }
                        }
                        client.transaction { tx ->
                            val sum = tx.query("SELECT body FROM note WHERE id = 'sum'")[0].string(0).toInt()
                            tx.execute("UPDATE note SET body = ? WHERE id = 'sum'", "${sum + 1}")
                        }
                    }
                }
            assertEquals(100L, answers.awaitAll().sum())
            assertEquals("100", client.query("SELECT body FROM note WHERE id = 'sum'")[0].string(0))
            assertEquals(201, client.query("SELECT count(*) FROM note")[0].int(0))
        }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `opens and shutdowns leak nothing`() =
        story(18.minutes) {
            val times = if (isDeep) 4 else 1

            val files = List(4) { file() }

            suspend fun open(number: Int): RejoinClient {
                val server = "http://127.0.0.1:9".takeIf { number % 4 == 3 }
                return RejoinClient.open(RejoinConfig(files[number % 4], server = server))
            }

            // Every fourth client syncs without a server. Of three, one is shut down, one closed, one left to the garbage
            // collector.
            suspend fun once(number: Int) {
                val client = open(number)
                if (number % 4 == 3) client.start()
                client.schema.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
                client.transaction { it.execute("INSERT OR REPLACE INTO note VALUES ('n', ?)", "$number") }
                assertEquals("$number", client.watch("SELECT body FROM note") { it.string(0) }.first().single())
                when (number % 3) {
                    0 -> client.shutdown()
                    1 -> client.close()
                }
            }

            // A thread may still refer to the last client that was left to the collector. Opening its file returns that client.
            suspend fun footprint(): Footprint {
                for (number in files.indices) open(number).shutdown()
                return Footprint.now()
            }
            repeat(125 * times) { once(it) }
            val early = List(3) { footprint().also { repeat(60 * times) { number -> once(number) } } }
            repeat(125 * times) { once(it) }
            val late = List(3) { repeat(60 * times) { number -> once(number) }.let { footprint() } }
            println("${610 * times} opens: early $early, late $late")
            // Measurements vary with the JVM's threads and arenas; a leak only grows.
            assertTrue(late.minOf { it.threads } <= early.maxOf { it.threads } + 4, "threads: $early, $late")
            assertTrue(late.minOf { it.descriptors } <= early.maxOf { it.descriptors } + 2, "descriptors: $early, $late")
            assertTrue(late.minOf { it.heap } <= early.maxOf { it.heap } + 4, "heap: $early, $late")
            assertTrue(late.minOf { it.native } <= early.maxOf { it.native } + 16, "native memory: $early, $late")
        }
}
