/*
 * Actions on the real engine, without a server: as data, as code that waits, and whatever such code may do wrong.
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
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Clock
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

class ActionTest {
    private class Own : Exception("the app's own")

    private val how = ActionParameter("how", TEXT)

    @Test
    fun `an action that is data is performed and refuses in its own words`() =
        story {
            val client = offline(Actions { declare(RENAME) })
            client.adds("a", "old")
            val renamed = client.perform("rename", "id" to "a", "title" to "new")
            assertEquals("new", renamed.value.jsonObject.getValue("title").jsonPrimitive.content)
            assertEquals(listOf(null, "rename"), client.pending().map { it.action })
            assertEquals(client.pending().last().id, renamed.id)
            for ((name, given, fault) in listOf(
                Triple("rename", mapOf("id" to "b", "title" to "new"), ActionFault.REFUSED to "it is gone"),
                Triple("rename", mapOf("id" to "a"), ActionFault.ARGUMENTS to "title is missing"),
                Triple("rename", mapOf("id" to 7, "title" to "new"), ActionFault.ARGUMENTS to "id is no text"),
                Triple("forget", emptyMap(), ActionFault.UNKNOWN to ""),
            )) {
                val why = refused<RejoinException.Action> { client.perform(name, given) }
                assertEquals(listOf(name, fault), listOf(why.action, why.fault to why.words))
                assertTrue(why.reason.startsWith("action $name: "), why.reason)
            }
            assertEquals(listOf("new"), client.titles())
            assertEquals(2, client.pending().size)
        }

    @Serializable
    private data class Rename(val id: String, val title: String)

    @Test
    fun `an action that waits is mended by performing it again, or nothing is changed`() =
        story {
            val own = Own()
            val actions =
                Actions {
                    declare(RENAME)
                    handler("set", how) { context, given ->
                        if (given.string("how") == "throw") throw own
                        context.execute("UPDATE task SET title = ?", given.string("how"))
                    }
                }
            val file = file()
            val client = offline(actions, file)
            client.adds("a", "old")
            val old = client.perform("rename", Rename("a", "wrong")).id!!
            val set = client.perform("set", "how" to "set").id!!
            val plain = client.pending().first().id
            assertEquals("it is gone", refused<RejoinException.Action> { client.performAgain(old, Rename("b", "x")) }.words)
            assertEquals(ActionFault.ARGUMENTS, refused<RejoinException.Action> { client.performAgain(old, "id" to "a") }.fault)
            assertSame(own, refused<RejoinException.Callback> { client.performAgain(set, "how" to "throw") }.cause)
            for (id in listOf(plain, "nonsense")) refused<RejoinException.InvalidInput> { client.performAgain(id) }
            assertEquals(listOf(plain, old, set), client.pending().map { it.id })
            assertEquals(listOf("set"), client.titles())
            val again = client.performAgain(old, Rename("a", "right"))
            assertEquals("right", again.value.jsonObject.getValue("title").jsonPrimitive.content)
            client.shutdown()
            // It is in the file: the next start finds it at the end of the queue.
            val next = offline(actions, file)
            assertEquals(listOf(plain, set, again.id), next.pending().map { it.id })
            assertEquals(listOf("right"), next.titles())
        }

    @Test
    fun `ids of rows are made of what a projection makes of them`() =
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
    fun `what takes more than the budget is told with what is allowed`() =
        story {
            val endless = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT max(i) FROM c"
            val actions =
                Actions {
                    declare(FILL)
                    handler("spin") { context, _ -> context.query(endless) }
                }
            val client = offline(actions) { copy(actionBudget = ActionBudget(run = 100.milliseconds, bytes = 1024)) }
            val large = refused<RejoinException.ActionTooLarge> { client.perform("fill", "n" to 500) }
            assertEquals("fill" to 1024L, large.action to large.mostBytes)
            val slow = refused<RejoinException.ActionTooSlow> { client.perform("spin") }
            assertEquals("spin" to 100.milliseconds, slow.action to slow.most)
            assertEquals(0, client.pending().size)
            client.perform("fill", "n" to 3)
            assertEquals(3, client.titles().size)
            val outside = ActionBudget(run = -(1.milliseconds), rebase = Duration.INFINITE, bytes = -1)
            val unsaid = refused<RejoinException.Configuration> { offline { copy(actionBudget = outside) } }
            for (field in listOf("run", "rebase", "bytes")) assertTrue("actionBudget.$field" in unsaid.reason, unsaid.reason)
            val beyond = ActionBudget(run = 99.milliseconds, rebase = 2.minutes, bytes = 1023)
            val judged = refused<RejoinException.Configuration> { offline { copy(actionBudget = beyond) } }
            for (field in listOf("run", "rebase", "bytes")) assertTrue("action_budget.$field" in judged.reason, judged.reason)
        }

    @Test
    fun `an action that is code reads and writes and gives a value back`() =
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
                            withContext(Dispatchers.Unconfined) { context.query("SELECT 1") } // From wherever it likes.
                            mapOf("before" to before, "in" to context.mutationId)
                        }
                    },
                )
            client.adds("a", "old")
            val swapped = client.perform("swap", "title" to "new")
            val value = swapped.decode<Map<String, String>>()
            assertEquals(mapOf("before" to "old", "in" to swapped.id), value)
            assertEquals(setOf("made", "new"), client.titles().toSet())
            assertEquals(listOf(null, "swap"), client.pending().map { it.action })
        }

    @Test
    fun `an action that writes nothing is no mutation`() =
        story {
            val client = offline(Actions { handler("look") { _, _ -> } })
            assertEquals(Performed(null, JsonNull), client.perform("look"))
            assertEquals(0, client.pending().size)
        }

    @Test
    fun `whatever code throws nothing of it is kept, and what it throws on stays what it is`() =
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
                                else -> Own() // No value of JSON.
                            }
                        }
                    },
                )
            client.adds("a", "old")

            val said = refused<RejoinException.Action> { client.perform("try", "how" to "refused") }
            assertEquals(Triple("try", ActionFault.REFUSED, "too late"), Triple(said.action, said.fault, said.words))
            assertEquals("action try: too late", said.reason)
            assertEquals("id", refused<RejoinException.Constraint> { client.perform("try", "how" to "rule") }.column)
            val chance = refused<RejoinException.InvalidInput> { client.perform("try", "how" to "chance") }
            assertTrue("random" in chance.reason, chance.reason)
            for ((how, words) in listOf(
                "own" to "the app's own",
                "error" to "AssertionError",
                "timeout" to "TimeoutCancellationException",
                "left out" to "the argument nothing was left out",
                "else" to "has no form in JSON",
            )) {
                val thrown = refused<RejoinException.Callback> { client.perform("try", "how" to how) }
                assertTrue(words in thrown.reason, thrown.reason)
                // What it has thrown itself, with its stack; a class of Rejoin's own needs none.
                if (how in listOf("own", "error", "timeout")) assertTrue(words in thrown.cause.toString(), "${thrown.cause}")
            }
            assertEquals(listOf("old"), client.titles())
            assertEquals(1, client.pending().size)
        }

    @Test
    fun `code may go on after a statement that was refused`() =
        story {
            val client =
                offline(
                    Actions {
                        handler("make", ActionParameter("id", TEXT)) { context, given ->
                            val insert = "INSERT INTO task(id, title) VALUES (?, 'made')"
                            try {
                                context.execute(insert, given.string("id"))
                            } catch (_: RejoinException.Constraint) {
                                context.execute(insert, given.string("id") + "-2")
                            }
                        }
                    },
                )
            client.adds("a", "old")
            client.perform("make", "id" to "a")
            assertEquals(listOf("a", "a-2"), client.query("SELECT id FROM task ORDER BY id") { it.string(0) })
        }

    @Test
    fun `two rows that nothing tells apart are refused, even if the code passes over it`() =
        story {
            val client =
                offline(
                    Actions {
                        identity("task", "title")
                        handler("twice") { context, _ ->
                            context.rowId("task", "title" to "x")
                            runCatching { context.rowId("task", "title" to "x") }
                            context.execute("INSERT INTO task(id, title) VALUES ('a', 'x')")
                        }
                        handler("nameless") { context, _ -> context.rowId("task") }
                    },
                )
            val why = refused<RejoinException.Action> { client.perform("twice") }
            assertEquals(ActionFault.SAME_ROW to "task", why.fault to why.words)
            assertTrue("title" in refused<RejoinException.InvalidInput> { client.perform("nameless") }.reason)
            assertEquals(0, client.titles().size)
        }

    @Test
    fun `code that does not end is given up, its coroutine cancelled and its context over`() =
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
                                // As careless code does: it goes on after its end.
                                withContext(NonCancellable) {
                                    late.complete(runCatching { context.execute("UPDATE task SET title = 'late'") }.exceptionOrNull())
                                }
                                kept.complete(context)
                            }
                        }
                    },
                ) { copy(transactionIdle = 100.milliseconds) }
            client.adds("a", "old")
            // A machine that is slow may give it up before its code has begun: then it says the same, and is performed again.
            while (!began) assertEquals(ActionFault.TIMED_OUT, refused<RejoinException.Action> { client.perform("hang") }.fault)
            client.execute("UPDATE task SET title = title || 'er'") // Whoever waited has its turn.
            assertTrue(late.await() is RejoinException.TransactionTimeout, "${late.await()}")
            val context = kept.await()
            while (!context.isOver) delay(1.milliseconds)
            refused<RejoinException.InvalidInput> { context.query("SELECT 1") }
            assertEquals(listOf("older"), client.titles())
        }

    @Test
    fun `suspending and ending do not wait for code`() =
        story {
            var began = CompletableDeferred<Unit>()
            val client =
                offline(
                    Actions {
                        handler("busy") { context, _ ->
                            context.execute("UPDATE task SET title = 'half'")
                            began.complete(Unit)
                            while (true) context.query("SELECT 1") // Never silent.
                        }
                    },
                )
            client.adds("a", "old")
            val first = async { runCatching { client.perform("busy") }.exceptionOrNull() }
            began.await()
            client.suspend()
            assertTrue(first.await() is RejoinException.Suspended, "${first.await()}")
            client.resume()
            assertEquals(listOf("old"), client.titles())
            began = CompletableDeferred()
            val second = async { runCatching { client.perform("busy") }.exceptionOrNull() }
            began.await()
            client.shutdown()
            assertTrue(second.await() is RejoinException.Ended, "${second.await()}")
        }

    @Test
    fun `code that calls back into its client is refused at once what would wait for itself`() =
        story {
            lateinit var client: RejoinClient
            lateinit var twin: RejoinClient
            val other = local()
            val calls: List<suspend () -> Any?> =
                listOf(
                    { client.execute("DELETE FROM task") },
                    { client.perform("look") },
                    { client.transaction { } },
                    { client.pending() },
                    { client.suspend() },
                    { twin.execute("DELETE FROM task") }, // It has the same writer.
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
            // What it reads by the client is the state before.
            assertEquals(listOf("old"), client.perform("call back").decode<List<String>>())
            assertEquals(listOf("new"), client.titles())
            assertEquals(listOf("elsewhere"), other.notes())
            over.complete(Unit)
            assertEquals(1, later.await().getOrThrow()) // It has outlived the action.
        }

    @Test
    fun `a caller who is cancelled only does not hear of the end`() =
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
            assertEquals(2, client.pending().size) // Which waits for the writer, and it for the action.
            assertEquals(listOf("whole"), client.titles())
        }

    @Test
    fun `what is wrong with actions is told when the file is opened, all of it together`() =
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
            val told = refused<RejoinException.InvalidInput> { offline(unset) }
            assertTrue(told.reason.startsWith("action x: upgrade of version 1: n: "), told.reason)
        }

    @Test
    fun `a table that only actions write refuses other writes`() =
        story {
            val client =
                offline(
                    Actions {
                        onlyByActions("task")
                        handler("make") { context, _ -> context.execute("INSERT INTO task(id, title) VALUES ('a', 'x')") }
                    },
                )
            refused<RejoinException.InvalidInput> { client.adds("b", "x") }
            assertEquals(1, client.perform("make").decode<Long>())
            assertEquals(listOf("x"), client.titles())
        }

    @Test
    fun `the actions of a file that is open are those of the first to open it`() =
        story {
            val one = offline(Actions { handler("who") { _, _ -> "one" } })
            val two = offline(Actions { handler("who") { _, _ -> "two" } }, file = one.path)
            assertEquals("one", two.perform("who").decode<String>())
            one.shutdown()
            val again = offline(Actions { handler("who") { _, _ -> "again" } }, file = one.path)
            assertEquals("again", again.perform("who").decode<String>())
            assertNull(again.perform("who").id)
        }

    private companion object {
        const val RENAME =
            """{"name": "rename", "parameters": [{"name": "id", "type": "text"}, {"name": "title", "type": "text"}],
                "preconditions": [{"sql": "SELECT count(*) FROM task WHERE id = :id", "message": "it is gone"}],
                "statements": ["UPDATE task SET title = :title WHERE id = :id"],
                "result": "SELECT title FROM task WHERE id = :id"}"""

        /** Makes so many tasks. */
        const val FILL =
            """{"name": "fill", "parameters": [{"name": "n", "type": "integer"}],
                "statements": ["INSERT INTO task (id, title) WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < :n) SELECT 'f' || i, 'x' FROM c"]}"""
    }
}
