/*
 * Actions that run again: concurrent offline actions of two devices on one row, against a real server process.
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

    /** An action in code that adds to a rank; [before] runs first and gets the number of the run. */
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

    /** Two devices that both added to the initial 1 while offline; the first one has synced. */
    private suspend fun Story.countedAtOnce(actions: Actions, budget: Duration = 1.minutes): Pair<StoryServer, RejoinClient> {
        val server = server()
        val one = server.run { device(actions = counting()) }
        one.execute("INSERT INTO task(id, title, rank) VALUES ('t', 'counter', 1)")
        one.sync.run()
        val two = server.run { device(actions = actions) { copy(actionBudget = ActionBudget(rebase = budget)) } }
        two.sync.run()
        for (device in listOf(one, two)) device.stop()
        assertEquals(11L, one.perform("count", "n" to 10).decode<Long>())
        assertEquals(101L, two.perform("count", "n" to 100).decode<Long>())
        one.sync.run()
        assertEquals(listOf(listOf("11")), server.rows("SELECT rank FROM task"))
        return server to two
    }

    private suspend fun RejoinClient.rank() = query("SELECT rank FROM task") { it.long(0) }.single()

    @Test
    fun `endless code delays a sync by its rebase budget only`() =
        story {
            val (server, two) = countedAtOnce(counting { _, run -> if (run > 1) awaitCancellation() }, budget = 200.milliseconds)
            two.sync.run()
            // The server reported a conflict for the recorded writes, so they are not sent again unchanged.
            val parked = two.queue.all().single()
            assertEquals(MutationState.PARKED to ParkReason.CONFLICTED, parked.state to parked.reason)
            assertEquals(11L, two.rank())
            assertEquals(listOf(listOf("11")), server.rows("SELECT rank FROM task"))
        }

    @Test
    fun `client call by re-run code is rejected at once`() =
        story {
            lateinit var two: RejoinClient
            var thrown: RejoinException? = null
            val calling =
                counting { _, run ->
                    if (run > 1) thrown = runCatching { two.execute("DELETE FROM task") }.exceptionOrNull() as? RejoinException
                }
            val (server, client) = countedAtOnce(calling).also { two = it.second }
            assertEquals(0, client.sync.run().stillPending)
            assertTrue(thrown is RejoinException.InvalidInput, "$thrown")
            assertEquals(listOf(listOf("111")), server.rows("SELECT rank FROM task"))
        }
}
