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
