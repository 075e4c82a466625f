/*
 * Actions that run again: what two devices do offline with one row, against a real server in a process of its own.
 */
package dev.rejoin

import dev.rejoin.ActionParameterType.INTEGER
import kotlinx.coroutines.awaitCancellation
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

class ActionStoryTest {
    private val amount = ActionParameter("n", INTEGER)

    /** Counts in a rank, by code; [before] comes first and is told the number of the run. */
    private fun counting(before: suspend (ActionContext, Int) -> Unit = { _, _ -> }): Actions {
        val runs = AtomicInteger()
        return Actions {
            handler("count", amount) { context, given ->
                before(context, runs.incrementAndGet())
                val (rank) = context.query("SELECT rank FROM task WHERE id = 't'") { it.long(0) }
                context.execute("UPDATE task SET rank = ? WHERE id = 't'", rank + given.long("n"))
                rank + given.long("n")
            }
        }
    }

    /** Two devices that have counted at once on what stood at 1; the first one's is on the server. */
    private suspend fun Story.countedAtOnce(actions: Actions, budget: Duration = 1.minutes): Pair<StoryServer, RejoinClient> {
        val server = server()
        val one = server.run { device(actions = counting()) }
        one.execute("INSERT INTO task(id, title, rank) VALUES ('t', 'counter', 1)")
        one.syncAndWait()
        val two = server.run { device(actions = actions) { copy(actionBudget = ActionBudget(rebase = budget)) } }
        two.syncAndWait()
        for (device in listOf(one, two)) device.stop()
        assertEquals(11L, one.perform("count", "n" to 10).decode<Long>())
        assertEquals(101L, two.perform("count", "n" to 100).decode<Long>())
        one.syncAndWait()
        assertEquals(listOf(listOf("11")), server.rows("SELECT rank FROM task"))
        return server to two
    }

    private suspend fun RejoinClient.rank() = query("SELECT rank FROM task") { it.long(0) }.single()

    @Test
    fun `code runs again on the rows of the server, and both count`() =
        story {
            val ids = mutableListOf<String>()
            val times = mutableListOf<String>()
            val (server, two) = countedAtOnce(counting { context, _ -> ids += context.mutationId; times += context.timeText })
            assertEquals(0, two.syncAndWait().stillPending)
            assertEquals(111L, two.rank())
            assertEquals(listOf(listOf("111")), server.rows("SELECT rank FROM task"))
            assertTrue(ids.size >= 2 && ids.distinct().size == 1 && times.distinct().size == 1, "$ids $times")
        }

    @Test
    fun `an action that is data runs again as well`() =
        story {
            val data =
                Actions {
                    declare(
                        """{"name": "count", "parameters": [{"name": "n", "type": "integer"}],
                            "statements": ["UPDATE task SET rank = rank + :n"], "result": "SELECT rank FROM task"}""",
                    )
                }
            val server = server()
            val (one, two) = server.run { device(actions = data) to device(actions = data) }
            one.execute("INSERT INTO task(id, title, rank) VALUES ('t', 'counter', 1)")
            for (device in listOf(one, two)) device.syncAndWait().also { device.stop() }
            for ((device, n) in listOf(one to 10, two to 100)) device.perform("count", "n" to n)
            repeat(2) { for (device in listOf(one, two)) device.syncAndWait() }
            assertEquals(listOf(111L, 111L), listOf(one.rank(), two.rank()))
            assertEquals(listOf(listOf("111")), server.rows("SELECT rank FROM task"))
        }

    @Test
    fun `code that throws when it runs again parks its mutation, and nothing of it stays`() =
        story {
            for ((words, thrown) in listOf<Pair<String, suspend (ActionContext) -> Unit>>(
                "IllegalStateException: not today" to { throw IllegalStateException("not today") },
                "too much" to { context -> context.refuse("too much") },
            )) {
                val (server, two) = countedAtOnce(counting { context, run -> if (run > 1) thrown(context) })
                two.syncAndWait()
                val parked = two.pending().single()
                assertEquals(listOf(MutationState.PARKED, ParkReason.UNREPLAYABLE, "count"), listOf(parked.state, parked.reason, parked.action))
                assertTrue(words in parked.detail!!, parked.detail)
                assertEquals(ParkReason.UNREPLAYABLE, (two.verdict(parked.id) as Verdict.Parked).reason)
                assertEquals(11L, two.rank())
                assertEquals(listOf(listOf("11")), server.rows("SELECT rank FROM task"))
            }
        }

    @Test
    fun `an action that was parked is mended by performing it again, and the server takes that`() =
        story {
            var full = true
            val (server, two) = countedAtOnce(counting { context, run -> if (run > 1 && full) context.refuse("too much") })
            two.syncAndWait()
            two.stop()
            val parked = two.pending().single()
            assertEquals(ParkReason.UNREPLAYABLE, parked.reason)
            full = false
            val mended = two.performAgain(parked.id, "n" to 5)
            assertEquals(16L, mended.decode<Long>())
            assertEquals(listOf(mended.id to MutationState.PENDING), two.pending().map { it.id to it.state })
            assertEquals(0, two.syncAndWait().stillPending)
            assertEquals(listOf(listOf("16")), server.rows("SELECT rank FROM task"))
            refused<RejoinException.InvalidInput> { two.performAgain(parked.id, "n" to 5) }
        }

    @Test
    fun `code that does not end when it runs again holds a sync up for its budget only`() =
        story {
            val (server, two) = countedAtOnce(counting { _, run -> if (run > 1) awaitCancellation() }, budget = 200.milliseconds)
            two.syncAndWait()
            // The server has found what was recorded in conflict; it is not offered as it was.
            val parked = two.pending().single()
            assertEquals(MutationState.PARKED to ParkReason.CONFLICTED, parked.state to parked.reason)
            assertEquals(11L, two.rank())
            assertEquals(listOf(listOf("11")), server.rows("SELECT rank FROM task"))
        }

    @Test
    fun `code that calls back into its client when it runs again is refused at once`() =
        story {
            lateinit var two: RejoinClient
            var said: RejoinException? = null
            val calling =
                counting { _, run ->
                    if (run > 1) said = runCatching { two.execute("DELETE FROM task") }.exceptionOrNull() as? RejoinException
                }
            val (server, client) = countedAtOnce(calling).also { two = it.second }
            assertEquals(0, client.syncAndWait().stillPending)
            assertTrue(said is RejoinException.InvalidInput, "$said")
            assertEquals(listOf(listOf("111")), server.rows("SELECT rank FROM task"))
        }
}
