/*
 * How mutations ended, as a list and as a flow: told until the app has said that it knows.
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

    /** A device with one accepted, one refused and one that stands on it; their ids. */
    private suspend fun Story.threeEnds(): Pair<RejoinClient, List<String>> {
        val client = server().run { device() }
        client.adds("t1", "good")
        client.adds("t2", "refused")
        client.execute("UPDATE task SET rank = 1 WHERE id = 't2'")
        val ids = client.pending().map { it.id }
        client.syncAndWait()
        return client to ids
    }

    @Test
    fun `a flow tells what is not acknowledged and then what comes, each once, until the client is shut down`() =
        story {
            val (client, ids) = threeEnds()
            val heard = Channel<VerdictEntry>(Channel.UNLIMITED)
            val collecting = async { client.watchVerdicts().collect { news -> news.entries.forEach { heard.send(it) } } }
            val before = List(3) { heard.receive() }
            assertEquals(ids.toSet(), before.map { it.id }.toSet())
            client.retry(ids[1])
            client.adds("t3", "also good")
            client.syncAndWait()
            val after = List(2) { heard.receive() }
            assertEquals(setOf(2L to VerdictKind.PARKED, 1L to VerdictKind.ACCEPTED), after.map { it.attempt to it.kind }.toSet())
            assertEquals(5, (before + after).map { it.number }.distinct().size)

            // Told is not known: whoever comes next hears it again, also after a restart.
            client.acknowledgeVerdicts(before.last().number)
            assertEquals(after, client.watchVerdicts().first().entries)
            client.shutdown()
            collecting.await() // The flow has completed.
            val again = RejoinClient.open(client.path)
            assertEquals(after, again.watchVerdicts().first().entries)
            again.shutdown()
            refused<RejoinException.Ended> { again.verdicts(1) }
            assertEquals(emptyList<Verdicts>(), again.watchVerdicts().toList())
        }

    @Test
    fun `a collector that throws ends its own flow and no other`() =
        story {
            val (client, _) = threeEnds()
            val thrown = runCatching { client.watchVerdicts().collect { throw Own() } }.exceptionOrNull()
            assertTrue(thrown is Own, "$thrown")
            assertEquals(3, client.watchVerdicts().first().entries.size)
        }

    @Test
    fun `a collector may acknowledge what it hears, and hears no end twice`() =
        story {
            val (client, _) = threeEnds()
            client.watchVerdicts().first().let { client.acknowledgeVerdicts(it.entries.last().number) }
            assertEquals(emptyList<VerdictEntry>(), client.verdicts(10).entries)
        }

    @Test
    fun `a collector that falls far behind misses nothing and hears nothing twice`() =
        story {
            val many = 100 * VerdictMailbox.KEPT + 300
            val client = server().run { device() }
            val (began, goesOn) = CompletableDeferred<Unit>() to CompletableDeferred<Unit>()
            val heard = mutableListOf<Long>()
            val done = CompletableDeferred<Unit>()
            val collecting =
                launch {
                    client.watchVerdicts().collect { news ->
                        heard += news.entries.map { it.number }
                        began.complete(Unit)
                        goesOn.await()
                        if (heard.size > many) done.complete(Unit)
                    }
                }
            client.adds("first", "x")
            client.syncAndWait()
            began.await()
            for (number in 1..many) client.adds("t$number", "x")
            client.syncAndWait()
            assertEquals(0, client.pending().size)
            goesOn.complete(Unit)
            done.await()
            collecting.cancel()
            assertEquals(heard.sorted().distinct(), heard)
            assertEquals(many + 1, heard.size)
        }
}
