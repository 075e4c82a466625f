/*
 * Actions on the real engine without a server: declared, in code that waits, and with faulty code.
 */
package dev.rejoin

import dev.rejoin.ActionParameterType.INTEGER
import dev.rejoin.ActionParameterType.TEXT
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Clock
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

class ActionTest {
    private class Own : Exception("the app's own")

    private val how = ActionParameter("how", TEXT)

    @Serializable
    private data class Rename(val id: String, val title: String)

    @Test
    fun `row ids derive from the projection of the row`() =
        story {
            val client =
                offline(
                    Actions {
                        identity("TASK", "by")
                        projection("Task") { row -> mapOf("day" to (row.getValue("at") as String).take(3)) }
                        handler("make") { context, _ ->
                            val first = context.rowId("task", "at" to "monday", "by" to 1)
                            val other = context.rowId("TASK", "at" to "tuesday", "by" to 1)
                            for (id in listOf(first, other)) context.execute("INSERT INTO task(id, title) VALUES (?, 'x')", id)
                        }
                        handler("twice") { context, _ -> for (at in listOf("monday", "mon")) context.rowId("task", "at" to at) }
                        handler("wrong") { context, _ -> context.rowId("task", "by" to 1) }
                    },
                )
            client.perform("make")
            assertEquals(2, client.titles().size)
            assertEquals(ActionFault.SAME_ROW, refused<RejoinException.Action> { client.perform("twice") }.fault)
            assertTrue(refused<RejoinException.Callback> { client.perform("wrong") }.cause is NoSuchElementException)
        }

    @Test
    fun `budget beyond the engine's range is reported by field`() =
        story {
            val outside = ActionBudget(run = -(1.milliseconds), rebase = Duration.INFINITE, bytes = -1)
            val why = refused<RejoinException.Configuration> { offline { copy(actionBudget = outside) } }
            for (field in listOf("run", "rebase", "bytes")) assertTrue("actionBudget.$field" in why.reason, why.reason)
        }

    @Test
    fun `code action reads, writes and returns a value`() =
        story {
            val client =
                offline(
                    Actions {
                        identity("task", "title")
                        handler("swap", ActionParameter("title", TEXT)) { context, given ->
                            val (before) = context.query("SELECT title FROM task") { it.string(0) }
                            assertEquals(1, context.execute("UPDATE task SET title = ?", given.string("title")))
                            val id = context.rowId("task", "title" to "made")
                            context.execute("INSERT INTO task(id, title) VALUES (?, 'made')", id)
                            assertEquals(context.timeText, context.query("SELECT rejoin_now()")[0].string(0))
                            assertTrue((Clock.System.now() - context.time).absoluteValue < 10.minutes, "${context.time}")
                            withContext(Dispatchers.Unconfined) { context.query("SELECT 1") } // From any dispatcher.
                            mapOf("before" to before, "in" to context.mutationId)
                        }
                    },
                )
            client.adds("a", "old")
            val swapped = client.perform("swap", "title" to "new")
            val value = swapped.decode<Map<String, String>>()
            assertEquals(mapOf("before" to "old", "in" to swapped.id), value)
            assertEquals(setOf("made", "new"), client.titles().toSet())
            assertEquals(listOf(null, "swap"), client.queue.all().map { it.action })
        }

    @Test
    fun `exception of action code rolls back and keeps its type`() =
        story {
            val client =
                offline(
                    Actions {
                        handler("try", how) { context, given ->
                            context.execute("UPDATE task SET title = 'half'")
                            when (given.string("how")) {
                                "refused" -> context.refuse("too late")
                                "rule" -> context.execute("INSERT INTO task(id, title) VALUES ('a', '')")
                                "chance" -> context.execute("UPDATE task SET rank = random()")
                                "own" -> throw Own()
                                "error" -> throw AssertionError("in the handler")
                                "timeout" -> withTimeout(10.milliseconds) { awaitCancellation() }
                                "left out" -> given.string("nothing")
                                else -> Own() // Not convertible to JSON.
                            }
                        }
                    },
                )
            client.adds("a", "old")

            val refusal = refused<RejoinException.Action> { client.perform("try", "how" to "refused") }
            assertEquals(Triple("try", ActionFault.REFUSED, "too late"), Triple(refusal.action, refusal.fault, refusal.detail))
            assertEquals("action try: too late", refusal.reason)
            assertEquals("id", refused<RejoinException.Constraint> { client.perform("try", "how" to "rule") }.column)
            val chance = refused<RejoinException.InvalidInput> { client.perform("try", "how" to "chance") }
            assertTrue("random" in chance.reason, chance.reason)
            for ((how, words) in listOf(
                "own" to "the app's own",
                "error" to "AssertionError",
                "timeout" to "TimeoutCancellationException",
                "left out" to "the argument nothing was left out",
                "else" to "cannot be converted to JSON",
            )) {
                val thrown = refused<RejoinException.Callback> { client.perform("try", "how" to how) }
                assertTrue(words in thrown.reason, thrown.reason)
                // The app's own exception with its stack; Rejoin's exceptions need none.
                if (how in listOf("own", "error", "timeout")) assertTrue(words in thrown.cause.toString(), "${thrown.cause}")
            }
            assertEquals(listOf("old"), client.titles())
            assertEquals(1, client.queue.all().size)
        }

    @Test
    fun `endless action code is cancelled and its context ends`() =
        story {
            val (kept, late) = CompletableDeferred<ActionContext>() to CompletableDeferred<Throwable?>()
            var began = false
            val client =
                offline(
                    Actions {
                        handler("hang") { context, _ ->
                            began = true
                            try {
                                context.execute("UPDATE task SET title = 'half'")
                                awaitCancellation()
                            } finally {
                                // Faulty code that continues after its end.
                                withContext(NonCancellable) {
                                    late.complete(runCatching { context.execute("UPDATE task SET title = 'late'") }.exceptionOrNull())
                                }
                                kept.complete(context)
                            }
                        }
                    },
                ) { copy(transactionIdle = 100.milliseconds) }
            client.adds("a", "old")
            // A slow machine may cancel it before its code started: same error, and it is performed again.
            while (!began) assertEquals(ActionFault.TIMED_OUT, refused<RejoinException.Action> { client.perform("hang") }.fault)
            client.execute("UPDATE task SET title = title || 'er'") // Waiting writers continue.
            assertTrue(late.await() is RejoinException.TransactionTimeout, "${late.await()}")
            val context = kept.await()
            while (!context.isOver) delay(1.milliseconds)
            refused<RejoinException.InvalidInput> { context.query("SELECT 1") }
            assertEquals(listOf("older"), client.titles())
        }

    @Test
    fun concurrent_actions_and_queries_all_end() =
        story {
            val client = offline(Actions { handler("add") { context, _ -> context.execute("UPDATE task SET rank = rank + 1") } })
            client.execute("INSERT INTO task(id, title, rank) VALUES ('a', 'x', 0)")
            List(200) { async(Dispatchers.Default) { client.perform("add"); client.titles() } }.awaitAll()
            assertEquals(listOf(200L), client.query("SELECT rank FROM task") { it.long(0) })
        }

    @Test
    fun `suspend and shutdown do not wait for action code`() =
        story {
            var began = CompletableDeferred<Unit>()
            val client =
                offline(
                    Actions {
                        handler("busy") { context, _ ->
                            context.execute("UPDATE task SET title = 'half'")
                            began.complete(Unit)
                            while (true) context.query("SELECT 1") // Never idle.
                        }
                    },
                )
            client.adds("a", "old")
            val first = async { runCatching { client.perform("busy") }.exceptionOrNull() }
            began.await()
            client.sync.suspend()
            assertTrue(first.await() is RejoinException.Suspended, "${first.await()}")
            client.sync.resume()
            assertEquals(listOf("old"), client.titles())
            began = CompletableDeferred()
            val second = async { runCatching { client.perform("busy") }.exceptionOrNull() }
            began.await()
            client.shutdown()
            assertTrue(second.await() is RejoinException.Closed, "${second.await()}")
        }

    @Test
    fun `client call that waits for its own action is rejected`() =
        story {
            lateinit var client: RejoinClient
            lateinit var twin: RejoinClient
            val other = local()
            val calls: List<suspend () -> Any?> =
                listOf(
                    { client.execute("DELETE FROM task") },
                    { client.perform("look") },
                    { client.transaction { } },
                    { client.queue.all() },
                    { client.sync.suspend() },
                    { twin.execute("DELETE FROM task") }, // Shares the writer.
                    { other.transaction { client.execute("DELETE FROM task") } },
                )
            val over = CompletableDeferred<Unit>()
            val later = CompletableDeferred<Result<Long>>()
            val actions =
                Actions {
                    handler("look") { _, _ -> }
                    handler("call back") { context, _ ->
                        context.execute("UPDATE task SET title = 'new'")
                        for (call in calls) {
                            val why = refused<RejoinException.InvalidInput> { call() }
                            assertTrue(why.reason.startsWith("called from inside a transaction"), why.reason)
                        }
                        other.execute("INSERT INTO note VALUES ('a', 'elsewhere')")
                        CoroutineScope(currentCoroutineContext().minusKey(Job)).launch {
                            over.await()
                            later.complete(runCatching { client.execute("UPDATE task SET rank = 1") })
                        }
                        client.query("SELECT title FROM task") { it.string(0) }
                    }
                }
            client = offline(actions)
            twin = offline(file = client.path)
            client.adds("a", "old")
            // Reads by the client see the state before the action.
            assertEquals(listOf("old"), client.perform("call back").decode<List<String>>())
            assertEquals(listOf("new"), client.titles())
            assertEquals(listOf("elsewhere"), other.notes())
            over.complete(Unit)
            assertEquals(1, later.await().getOrThrow()) // Outlived the action.
        }

    @Test
    fun `cancelling the caller does not stop the action`() =
        story {
            val gate = Gate()
            val client =
                offline(
                    Actions {
                        handler("slow") { context, _ ->
                            context.execute("UPDATE task SET title = 'half'")
                            gate.pass()
                            context.execute("UPDATE task SET title = 'whole'")
                        }
                    },
                )
            client.adds("a", "old")
            val performing = launch { client.perform("slow") }
            gate.arrived.await()
            performing.cancelAndJoin()
            assertEquals(listOf("old"), client.titles())
            gate.open()
            assertEquals(2, client.queue.all().size) // Waits for the writer, which waits for the action.
            assertEquals(listOf("whole"), client.titles())
        }

    @Test
    fun `open reports all problems of actions together`() =
        story {
            val wrong =
                Actions {
                    declare("""{"name": "empty", "statements": []}""")
                    handler("") { _, _ -> }
                    handler("twice", ActionParameter("n", INTEGER), ActionParameter("n", TEXT)) { _, _ -> }
                }
            val why = refused<RejoinException.Configuration> { offline(wrong) }
            for (words in listOf("it has no statement", "needs a name", "two parameters n")) assertTrue(words in why.reason, why.reason)
            val upgrade = ActionUpgrade(1, set = mapOf("n" to Own()))
            val unset = Actions { handler("x", version = 2, upgrades = listOf(upgrade)) { _, _ -> } }
            val error = refused<RejoinException.InvalidInput> { offline(unset) }
            assertTrue(error.reason.startsWith("action x: upgrade of version 1: n: "), error.reason)
        }
}
