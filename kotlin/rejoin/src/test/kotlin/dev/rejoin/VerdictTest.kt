/*
 * Verdicts as a list and as a flow: reported until the app acknowledges them.
 */
package dev.rejoin

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class VerdictTest {
    private class Own : Exception()

    /** A device with an accepted, a rejected and a dependent mutation; their ids. */
    private suspend fun Story.threeEnds(): Pair<RejoinClient, List<String>> {
        val client = server().run { device() }
        client.adds("t1", "good")
        client.adds("t2", "refused")
        client.execute("UPDATE task SET rank = 1 WHERE id = 't2'")
        val ids = client.queue.all().map { it.id }
        client.sync.run()
        return client to ids
    }

    @Test
    fun `flow reports each verdict once until shutdown`() =
        story {
            val (client, ids) = threeEnds()
            val received = Channel<VerdictEntry>(Channel.UNLIMITED)
            val collecting = async { client.queue.watchVerdicts().collect { news -> news.entries.forEach { received.send(it) } } }
            val before = List(3) { received.receive() }
            assertEquals(ids.toSet(), before.map { it.id }.toSet())
            client.queue.retry(ids[1])
            client.adds("t3", "also good")
            client.sync.run()
            val after = List(2) { received.receive() }
            assertEquals(setOf(2L to VerdictKind.PARKED, 1L to VerdictKind.ACCEPTED), after.map { it.attempt to it.kind }.toSet())
            assertEquals(5, (before + after).map { it.number }.distinct().size)

            // Unacknowledged verdicts are reported again to the next collector, also after a restart.
            client.queue.acknowledgeVerdicts(before.last().number)
            assertEquals(after, client.queue.watchVerdicts().first().entries)
            client.shutdown()
            collecting.await() // The flow has completed.
            val again = RejoinClient.open(client.path)
            assertEquals(after, again.queue.watchVerdicts().first().entries)
            again.shutdown()
            refused<RejoinException.Closed> { again.queue.verdicts(1) }
            assertEquals(emptyList<Verdicts>(), again.queue.watchVerdicts().toList())
        }

    @Test
    fun `throwing collector ends only its own flow`() =
        story {
            val (client, _) = threeEnds()
            val thrown = runCatching { client.queue.watchVerdicts().collect { throw Own() } }.exceptionOrNull()
            assertTrue(thrown is Own, "$thrown")
            assertEquals(3, client.queue.watchVerdicts().first().entries.size)
        }

    @Test
    fun `acknowledging collector gets each verdict once`() =
        story {
            val (client, _) = threeEnds()
            client.queue.watchVerdicts().first().let { client.queue.acknowledgeVerdicts(it.entries.last().number) }
            assertEquals(emptyList<VerdictEntry>(), client.queue.verdicts(10).entries)
        }

    @Test
    fun `slow collector misses and repeats no verdict`() =
        story {
            val many = 100 * VerdictMailbox.KEPT + 300
            val client = server().run { device() }
            val (began, goesOn) = CompletableDeferred<Unit>() to CompletableDeferred<Unit>()
            val received = mutableListOf<Long>()
            val done = CompletableDeferred<Unit>()
            val collecting =
                launch {
                    client.queue.watchVerdicts().collect { news ->
                        received += news.entries.map { it.number }
                        began.complete(Unit)
                        goesOn.await()
                        if (received.size > many) done.complete(Unit)
                    }
                }
            client.adds("first", "x")
            client.sync.run()
            began.await()
            for (number in 1..many) client.adds("t$number", "x")
            client.sync.run()
            assertEquals(0, client.queue.all().size)
            goesOn.complete(Unit)
            done.await()
            collecting.cancel()
            assertEquals(received.sorted().distinct(), received)
            assertEquals(many + 1, received.size)
        }
}
