/*
 * Subscriptions to streams on the real engine, offline and with a server that has another stream. tests/scenarios/streams.json loads rows.
 */
package dev.rejoin

import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.util.UUID
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

class StreamsTest {
    @Test
    fun `subscription waits offline and is listed until it ends`() =
        story {
            val client = local()
            val project = client.sync.subscribe("project", mapOf("project" to 42), ttl = 2.hours, priority = 1)
            assertEquals(listOf("project", mapOf("project" to "42"), StreamStatus.Waiting), listOf(project.stream, project.parameters, project.status))
            val listed = SubscribedStream("project", mapOf("project" to "42"), 1, 2.hours, null, StreamStatus.Waiting)
            assertEquals(listOf(listed), client.sync.subscriptions)
            assertEquals(listOf(listed), client.sync.watchSubscriptions().first())
            repeat(2) { project.close() }
            assertNotNull(client.sync.subscriptions.single().ends)
            assertTrue(isInvalid { project.firstSync(Duration.ZERO) })
            repeat(2) { client.sync.subscribe("project", mapOf("project" to "42")).unsubscribe() }
            assertEquals(emptyList<SubscribedStream>(), client.sync.subscriptions)
            client.shutdown()
            assertEquals(emptyList<List<SubscribedStream>>(), client.sync.watchSubscriptions().toList().filter { it.isNotEmpty() })
        }

    @Test
    fun `parameters are texts, integers and UUIDs`() =
        story {
            val client = local()
            val id = UUID(1, 2)
            val given = mapOf("a" to "x", "b" to Long.MIN_VALUE, "c" to id, "d" to 7.toShort(), "e" to 7.toByte())
            val texts = mapOf("a" to "x", "b" to "-9223372036854775808", "c" to "$id", "d" to "7", "e" to "7")
            client.sync.subscribe("all", given).use { assertEquals(texts, it.parameters) }
            val subscribe: List<suspend () -> StreamSubscription> =
                listOf(
                    { client.sync.subscribe("all", mapOf("a" to 0.5)) },
                    { client.sync.subscribe("all", ttl = (-1).seconds) },
                    { client.sync.subscribe("all", priority = 256) },
                    { client.sync.subscribe("") },
                    { client.sync.subscribe("all", mapOf("a" to "x".repeat(7_000))) },
                )
            for (wrong in subscribe) assertTrue(isInvalid { wrong() })
            assertEquals(1, client.sync.subscriptions.size)
        }

    @Test
    fun `server without the stream refuses the subscription`() =
        story {
            val client = server().run { device() }
            client.sync.subscribe("project", mapOf("project" to 42)).use { project ->
                val refused = runCatching { project.firstSync(30.seconds) }.exceptionOrNull() as RejoinException.SubscriptionRefused
                assertEquals("project" to RefusalCode.UNKNOWN_STREAM, refused.stream to refused.refusal)
                assertTrue(refused.detail.isNotEmpty() && refused.detail in refused.reason, refused.reason)
                assertEquals(StreamStatus.Refused(refused.refusal, refused.detail), project.status)
            }
        }

    private suspend fun isInvalid(call: suspend () -> Unit) = runCatching { call() }.exceptionOrNull() is RejoinException.InvalidInput
}
