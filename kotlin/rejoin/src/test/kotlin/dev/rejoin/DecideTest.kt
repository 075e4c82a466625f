/*
 * What an app decides of what is parked or waits: retry, edit, discard, alone and with a chain, against a real server.
 */
package dev.rejoin

import dev.rejoin.ActionParameterType.BOOLEAN
import dev.rejoin.ActionParameterType.TEXT
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class DecideTest {
    private class Own : Exception()

    private suspend fun RejoinClient.reasons() = pending().map { it.reason }

    /** A device of which a create was refused, with an edit upon it; their ids. */
    private suspend fun StoryServer.refusedChain(story: Story): Triple<RejoinClient, String, String> {
        val client = story.run { device() }
        client.adds("t1", "refused")
        client.execute("UPDATE task SET rank = 2 WHERE id = 't1'")
        val (create, edit) = client.pending().map { it.id }
        client.syncAndWait()
        client.stop()
        assertEquals(listOf(ParkReason.REJECTED, ParkReason.DEPENDS), client.reasons())
        assertEquals(create, client.pending().last().becauseOf)
        return Triple(client, create, edit)
    }

    /** Two devices with the same task, of which the second one's title met the first one's. */
    private suspend fun Story.conflicted(server: StoryServer, change: RejoinConfig.() -> RejoinConfig = { this }): RejoinClient {
        val (phone, tablet) = server.run { device() to device(change = change) }
        phone.adds("t1", "first")
        for (device in listOf(phone, tablet)) device.syncAndWait().also { device.stop() }
        phone.execute("UPDATE task SET title = 'theirs'")
        tablet.execute("UPDATE task SET title = 'mine'")
        for (device in listOf(phone, tablet)) device.syncAndWait().also { device.stop() }
        return tablet
    }

    @Test
    fun `a conflict is retried and ends by the app's word`() =
        story {
            val server = server()
            val client = conflicted(server)
            val parked = client.pending().single()
            assertEquals(ParkReason.CONFLICTED to 1L, parked.reason to parked.attempt)
            assertEquals(listOf("theirs"), client.titles())
            client.retry(parked.id)
            assertEquals(listOf("mine"), client.titles()) // At once.
            assertEquals(MutationState.PENDING to 2L, client.pending().single().run { state to attempt })
            client.syncAndWait()
            assertEquals(listOf(listOf("mine")), server.rows("SELECT title FROM task"))
            assertEquals(0, client.pending().size)
        }

    @Test
    fun `what cannot be retried says why, and a parked creator is named`() =
        story {
            val (client, create, edit) = server().refusedChain(this)
            assertEquals(create, refused<RejoinException.StandsOn> { client.retry(edit) }.id)
            client.adds("t2", "waits")
            refused<RejoinException.InvalidInput> { client.retry(client.pending().last().id) }
            for (name in listOf("no such id", "01890000-0000-7000-8000-000000000000")) {
                val calls: List<suspend () -> Any?> =
                    listOf({ client.retry(name) }, { client.retryChain(name) }, { client.discardChain(name) }, { client.edit(name, emptyList()) }, { client.edit(name) { } })
                for (call in calls) refused<RejoinException.InvalidInput> { call() }
            }
            assertEquals(listOf(ParkReason.REJECTED, ParkReason.DEPENDS, null), client.reasons())
        }

    @Test
    fun `a chain is mended at its root in one crossing, and offered again in order`() =
        story {
            val server = server()
            val (client, create, edit) = server.refusedChain(this)
            assertEquals(listOf(create, edit), client.retryChain(create)) // It is refused again.
            client.syncAndWait()
            client.stop()
            assertEquals(listOf(ParkReason.REJECTED, ParkReason.DEPENDS), client.reasons())

            val mended = client.edit(create, listOf(Statement("UPDATE task SET title = ? WHERE id = ?", "good", "t1")))
            assertNotEquals(create, mended)
            assertEquals(listOf(edit), client.retryChain(mended!!))
            client.syncAndWait()
            assertEquals(listOf(listOf("good", "2")), server.rows("SELECT title, rank FROM task"))
            assertEquals(0, client.pending().size)
        }

    @Test
    fun `a refused write is mended in a transaction, or not at all`() =
        story {
            val server = server()
            val (client, create, _) = server.refusedChain(this)
            val body: suspend (Transaction) -> Unit = { tx ->
                assertEquals(listOf("refused"), tx.query("SELECT title FROM task") { it.string(0) })
                tx.execute("UPDATE task SET title = 'good'")
            }
            assertTrue(runCatching { client.edit(create) { body(it); throw Own() } }.exceptionOrNull() is Own)
            val inside = CompletableDeferred<Unit>()
            val cancelled = launch { client.edit(create) { body(it); inside.complete(Unit); awaitCancellation() } }
            inside.await()
            cancelled.cancelAndJoin()
            refused<RejoinException.InvalidInput> { client.edit(create, listOf(Statement("nonsense"))) }
            assertEquals(listOf(ParkReason.REJECTED, ParkReason.DEPENDS), client.reasons())
            assertEquals(emptyList<String>(), client.titles())

            val mended =
                client.edit(create) { tx ->
                    body(tx)
                    refused<RejoinException.InvalidInput> { client.pending() } // Which would wait for this very edit.
                }
            assertTrue(client.pending().any { it.id == mended && it.state == MutationState.PENDING })
            client.syncAndWait()
            assertEquals(listOf(listOf("good")), server.rows("SELECT title FROM task"))
        }

    @Test
    fun `an edit that leaves nothing is no mutation`() =
        story {
            val (client, create, _) = server().refusedChain(this)
            assertNull(client.edit(create, listOf(Statement("DELETE FROM task"))))
            assertEquals(listOf(ParkReason.DEPENDS), client.reasons())
        }

    @Test
    fun `a chain is given up together`() =
        story {
            val (client, create, edit) = server().refusedChain(this)
            assertEquals(listOf(create, edit), client.discardChain(create))
            assertEquals(0, client.pending().size)
        }

    @Test
    fun `what was sent and has no verdict is given up too, and withdrawn from the server`() =
        story {
            val server = server()
            var loses = false
            val client = server.run { device(transport = JdkTransport({ loses && it.endsWith("/push") })) }
            client.syncAndWait()
            loses = true
            client.adds("t1", "sent")
            refused<RejoinException> { client.syncAndWait() }
            client.stop()
            val sent = client.pending().single()
            assertEquals(MutationState.UNCERTAIN, sent.state)
            assertEquals(listOf(listOf("sent")), server.rows("SELECT title FROM task"))
            client.discard(sent.id)
            assertEquals(emptyList<String>() to 0, client.titles() to client.pending().size) // At once.
            loses = false
            repeat(2) { client.syncAndWait() }
            val withdrawn = client.verdicts(10).entries.single { it.kind == VerdictKind.WITHDRAWN }
            assertEquals(sent.id, withdrawn.id)
            assertTrue(withdrawn.becauseOf != null)
            assertEquals(emptyList<String>(), client.titles())
            assertEquals(listOf(listOf("0")), server.rows("SELECT count(*) FROM task WHERE deleted_at IS NULL"))
        }

    @Test
    fun `a device has a policy of its own for a table`() =
        story {
            for ((policy, title, waits) in listOf(
                Triple(ConflictPolicy.REBASE, "mine", 0),
                Triple(ConflictPolicy.KEEP_LOCAL, "mine", 0),
                Triple(ConflictPolicy.ACCEPT_SERVER, "theirs", 1),
                Triple(ConflictPolicy.MANUAL, "theirs", 1),
            )) {
                val server = server()
                val client = conflicted(server) { copy(policies = mapOf("task" to policy)) }
                assertEquals(title to waits, client.titles().single() to client.pending().size, "$policy")
                assertEquals(listOf(listOf(title)), server.rows("SELECT title FROM task"))
                val before = client.pending().singleOrNull()?.detail?.contains("\"before\"") ?: false
                assertEquals(policy == ConflictPolicy.MANUAL, before, "$policy")
            }
            val why = refused<RejoinException.Configuration> { offline { copy(policies = mapOf("nothing" to ConflictPolicy.LAST_WRITE_WINS)) } }
            assertTrue("nothing" in why.reason, why.reason)
        }

    @Test
    fun `a newer version of an action takes over the arguments of the older`() =
        story {
            val old = Actions { handler("tell", ActionParameter("word", TEXT)) { context, given -> context.execute("UPDATE task SET title = ?", given.string("word")) } }
            val first = offline(old)
            first.adds("a", "x")
            first.perform("tell", "word" to "hello")
            val written = first.pending().first().id
            first.shutdown()
            val upgrade = ActionUpgrade(1, rename = mapOf("word" to "text"), set = mapOf("loud" to true))
            val new =
                Actions {
                    handler("tell", ActionParameter("text", TEXT), ActionParameter("loud", BOOLEAN), version = 2, upgrades = listOf(upgrade)) { context, given ->
                        context.execute("UPDATE task SET title = ?", given.json.toString())
                    }
                }
            val second = offline(new, file = first.path)
            assertEquals(listOf("hello"), second.titles())
            // What it stands on is mended, so it runs again.
            second.edit(written, listOf(Statement("UPDATE task SET title = 'y'")))
            assertEquals(listOf("""{"loud":true,"text":"hello"}"""), second.titles())
        }
}
