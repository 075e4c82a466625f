/*
 * Decisions about parked and waiting mutations: retry, edit, discard, single and as a chain, against a real server.
 */
package dev.rejoin

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class DecideTest {
    private class Own : Exception()

    private suspend fun RejoinClient.reasons() = queue.all().map { it.reason }

    /** A device with a rejected create and an edit that depends on it; their ids. */
    private suspend fun StoryServer.refusedChain(story: Story): Triple<RejoinClient, String, String> {
        val client = story.run { device() }
        client.adds("t1", "refused")
        client.execute("UPDATE task SET rank = 2 WHERE id = 't1'")
        val (create, edit) = client.queue.pending().map { it.id }
        client.sync.run()
        client.stop()
        assertEquals(listOf(ParkReason.REJECTED, ParkReason.DEPENDS), client.reasons())
        assertEquals(listOf(create, edit) to 0, client.queue.parked().map { it.id } to client.queue.pending().size)
        assertEquals(create, client.queue.all().last().becauseOf)
        return Triple(client, create, edit)
    }

    /** Two devices with the same task, where the second one's title edit conflicts with the first one's. */
    private suspend fun Story.conflicted(server: StoryServer, change: RejoinConfig.() -> RejoinConfig = { this }): RejoinClient {
        val (phone, tablet) = server.run { device() to device(change = change) }
        phone.adds("t1", "first")
        for (device in listOf(phone, tablet)) device.sync.run().also { device.stop() }
        phone.execute("UPDATE task SET title = 'theirs'")
        tablet.execute("UPDATE task SET title = 'mine'")
        for (device in listOf(phone, tablet)) device.sync.run().also { device.stop() }
        return tablet
    }

    @Test
    fun `edit of a rejected mutation is atomic`() =
        story {
            val server = server()
            val (client, create, _) = server.refusedChain(this)
            val body: suspend (Transaction) -> Unit = { tx ->
                assertEquals(listOf("refused"), tx.query("SELECT title FROM task") { it.string(0) })
                tx.execute("UPDATE task SET title = 'good'")
            }
            assertTrue(runCatching { client.queue.edit(create) { body(it); throw Own() } }.exceptionOrNull() is Own)
            val inside = CompletableDeferred<Unit>()
            val cancelled = launch { client.queue.edit(create) { body(it); inside.complete(Unit); awaitCancellation() } }
            inside.await()
            cancelled.cancelAndJoin()
            refused<RejoinException.InvalidInput> { client.queue.edit(create, listOf(Statement("nonsense"))) }
            assertEquals(listOf(ParkReason.REJECTED, ParkReason.DEPENDS), client.reasons())
            assertEquals(emptyList<String>(), client.titles())

            val edited =
                client.queue.edit(create) { tx ->
                    body(tx)
                    refused<RejoinException.InvalidInput> { client.queue.all() } // Would wait for this edit.
                }
            assertTrue(client.queue.all().any { it.id == edited && it.state == MutationState.PENDING })
            client.sync.run()
            assertEquals(listOf(listOf("good")), server.rows("SELECT title FROM task"))
        }

    @Test
    fun `discard of an uncertain mutation withdraws it`() =
        story {
            val server = server()
            var loses = false
            val client = server.run { device(transport = JdkTransport({ loses && it.endsWith("/push") })) }
            client.sync.run()
            loses = true
            client.adds("t1", "sent")
            refused<RejoinException> { client.sync.run() }
            client.stop()
            val sent = client.queue.all().single()
            assertEquals(MutationState.UNCERTAIN, sent.state)
            assertEquals(listOf(listOf("sent")), server.rows("SELECT title FROM task"))
            client.queue.discard(sent.id)
            assertEquals(emptyList<String>() to 0, client.titles() to client.queue.all().size) // At once.
            loses = false
            repeat(2) { client.sync.run() }
            val withdrawn = client.queue.verdicts(10).entries.single { it.kind == VerdictKind.WITHDRAWN }
            assertEquals(sent.id, withdrawn.id)
            assertTrue(withdrawn.becauseOf != null)
            assertEquals(emptyList<String>(), client.titles())
            assertEquals(listOf(listOf("0")), server.rows("SELECT count(*) FROM task WHERE deleted_at IS NULL"))
        }
}
