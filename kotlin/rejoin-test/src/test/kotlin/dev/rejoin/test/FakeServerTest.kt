/*
 * What only the fake server has: its switches, its counters, and its own errors.
 */
package dev.rejoin.test

import dev.rejoin.Actions
import dev.rejoin.HttpRequest
import dev.rejoin.HttpTransport
import dev.rejoin.MutationState
import dev.rejoin.ParkReason
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.SyncState
import dev.rejoin.VerdictKind
import dev.rejoin.decode
import kotlinx.coroutines.flow.first
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class FakeServerTest {
    @Serializable
    private data class Task(val id: String, val title: String, val done: Boolean, val rank: Int, val note: String?)

    @Test
    fun `started client receives a remote change by itself`() =
        test {
            val server = FakeServer(storySchema)
            server.testClient { client ->
                client.start()
                client.testWatch("SELECT title FROM task WHERE done = ?", true) {
                    assertTrue(awaitRows().isEmpty())
                    server.changeRow("task", "t1", "title" to "from elsewhere", "done" to true)
                    assertEquals("from elsewhere", awaitRows("the new task") { it.size == 1 }[0].string("title"))
                    server.deleteRow("task", "t1")
                    awaitRows("no task") { it.isEmpty() }
                }
            }
        }

    @Test
    fun `rows are typed`() =
        test {
            val server = FakeServer(storySchema)
            server.changeRow("task", "t2", "title" to "two", "rank" to 2)
            server.changeRow("task", "t1", "title" to "one", "done" to true, "note" to "a note")
            server.changeRow("task", "t3", "title" to "of bob", "user_id" to "bob")
            val expected = listOf(Task("t1", "one", true, 0, "a note"), Task("t2", "two", false, 2, null))
            assertEquals(expected, server.rows("task", FakeServer.USER).decode<Task>())
            assertEquals(3, server.rows("task").size)
            server.changeRow("sample", "s1", "data" to byteArrayOf(1, -1), "measure" to 3, "number" to Long.MAX_VALUE)
            server.testClient { client ->
                client.awaitUpToDate()
                assertEquals(expected, client.query("SELECT * FROM task ORDER BY id").decode<Task>())
                val (here, there) = client.query("SELECT * FROM sample")[0] to server.rows("sample")[0]
                assertEquals(listOf<Byte>(1, -1), here.bytes("data").toList())
                for (row in listOf(here, there)) assertEquals(3.0 to Long.MAX_VALUE, row.double("measure") to row.long("number"))
            }
        }

    @Test
    fun `reject parks mutations until acceptAll`() =
        test {
            val server = FakeServer(storySchema)
            server.changeRow("task", "keep", "title" to "keep me")
            server.reject("task", "this task stays") { it.string("title") == "keep me" }
            server.testClient { client ->
                client.awaitUpToDate()
                client.execute("DELETE FROM task")
                val parked = client.awaitParked()
                assertEquals(ParkReason.REJECTED, parked.reason)
                assertTrue("this task stays" in parked.detail?.message.orEmpty(), "${parked.detail}")
                assertEquals(listOf("keep me"), client.titles())
                server.acceptAll()
                client.queue.retry(parked.id)
                client.awaitUpToDate()
                assertEquals(0, server.rows("task").size)
            }
        }

    @Test
    fun `offline and online are statuses of the client`() =
        test {
            val server = FakeServer(storySchema).apply { offline = true }
            server.testClient { client ->
                client.start()
                client.adds("t1", "buy milk")
                client.status.first { it.state is SyncState.Offline }
                assertEquals(0, server.requests("register"))
                server.offline = false
                client.awaitUpToDate()
                assertEquals(listOf(1, 1), listOf("register", "push").map(server::requests))
                assertTrue(server.requests("pull") + server.requests("snapshot") > 0)
                assertEquals(1, server.rows("task").size)
            }
        }

    @Test
    fun `unauthorized client waits for new credentials`() =
        test {
            val server = FakeServer(storySchema).apply { unauthorized = true }
            server.testClient { client ->
                client.adds("t1", "buy milk")
                refused<RejoinException.Unauthorized> { client.sync.run() }
                assertEquals(SyncState.NeedsAuth, client.status.first { it.state == SyncState.NeedsAuth }.state)
                server.unauthorized = false
                client.sync.credentialsChanged()
                client.awaitUpToDate()
                assertEquals("buy milk", server.rows("task", FakeServer.USER)[0].string("title"))
            }
        }

    @Test
    fun `mutation without a response is sent again and counts once`() =
        test {
            val server = FakeServer(storySchema)
            server.testClient { client ->
                client.awaitUpToDate()
                val (sent, discarded) = client.uncertain(server, "t1") to client.uncertain(server, "t2")
                assertEquals(2, server.rows("task").size)
                client.queue.discard(discarded)
                server.losesPushResponses = false
                client.awaitUpToDate()
                client.testWatch("SELECT id FROM task") { awaitRows("only t1") { rows -> rows.map { it.string(0) } == listOf("t1") } }
                client.awaitUpToDate()
                assertEquals(listOf("t1"), server.rows("task").map { it.string("id") })
                val kinds = client.queue.verdicts(10).entries.associate { it.id to it.kind }
                assertEquals(VerdictKind.ACCEPTED to VerdictKind.WITHDRAWN, kinds[sent] to kinds[discarded])
            }
        }

    @Test
    fun `action without a response counts once`() =
        test {
            val server = FakeServer(storySchema)
            server.changeRow("task", "t1", "title" to "counted")
            val raise = Actions { handler("raise") { context, _ -> context.execute("UPDATE task SET rank = rank + 1") } }
            server.testClient(actions = raise) { client ->
                client.awaitUpToDate()
                server.losesPushResponses = true
                client.perform("raise")
                refused<RejoinException> { client.sync.run() }
                server.losesPushResponses = false
                client.awaitUpToDate()
                assertEquals(listOf(1), server.rows("task").map { it.int("rank") })
            }
        }

    /** Adds a task that the server has and whose response is lost; the mutation's id. */
    private suspend fun RejoinClient.uncertain(server: FakeServer, id: String): String {
        server.losesPushResponses = true
        adds(id, "sent")
        refused<RejoinException> { sync.run() }
        stop()
        return queue.all().last().also { assertEquals(MutationState.UNCERTAIN, it.state) }.id
    }

    @Test
    fun `client without a schema fetches it, tokens name their users`() =
        test {
            val server = FakeServer(storySchema) { it.removePrefix("token of ") }
            server.changeRow("task", "t1", "title" to "of bob", "user_id" to "bob")
            val bob = RejoinClient.open(server.config().copy(schema = null), { "token of bob" }, server)
            bob.awaitUpToDate()
            assertEquals(listOf("of bob"), bob.titles())
            assertEquals(1, server.requests("schema"))
            bob.shutdown()
            server.testClient { other ->
                other.awaitUpToDate()
                assertEquals(emptyList<String>(), other.titles())
            }
        }

    @Test
    fun `file that synced with another server keeps its waiting edits`() =
        test {
            val (old, new) = FakeServer(storySchema) to FakeServer(storySchema)
            var current = old
            new.changeRow("task", "n1", "title" to "of the new server")
            val transport =
                object : HttpTransport {
                    override suspend fun send(request: HttpRequest) = current.send(request)
                }
            val client = RejoinClient.open(old.config(), { "user" }, transport)
            client.adds("t1", "accepted by the old one")
            client.awaitUpToDate()
            client.stop()
            client.adds("t2", "waiting")
            current = new
            client.awaitUpToDate()
            assertTrue(client.titles().containsAll(listOf("of the new server", "waiting")), "${client.titles()}")
            assertTrue(new.rows("task").any { it.string("title") == "waiting" })
            client.shutdown()
        }
}
