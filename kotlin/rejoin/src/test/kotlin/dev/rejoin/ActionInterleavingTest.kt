/*
 * An action that waits in the middle, and everything that can happen meanwhile, in every order there is: it goes on, throws, never
 * ends, calls the client itself or loses its caller, while queries, writes, suspension and the end come in between.
 *
 * Each order is run twice on the real engine: step by step, where a model says exactly what must come of it, and without waiting
 * between the steps. In both, an action that was performed is in the file whole and in the queue once, one that was not has left
 * nothing, nobody ever sees a half, and every coroutine ends under a watchdog.
 */
package dev.rejoin

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.job
import kotlinx.coroutines.joinAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.io.File
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

class ActionInterleavingTest {
    private enum class Event { PERFORM, GOES_ON, QUERY, WATCH_FIRES, SUSPEND, SHUTDOWN }

    private enum class End { RETURNS, THROWS, NEVER, CALLS_BACK, IS_CANCELLED }

    private class Own : Exception("the action's own")

    private val all = orders(Event.entries, listOf(Event.PERFORM, Event.GOES_ON)).toList()

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `in every order, step by step, exactly what the model says comes of an action`() =
        story(18.minutes) { assertEquals(360 * 5, all(stepwise = true)) }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `in every order, all at once, no action is stuck and none is half`() =
        story(18.minutes) { assertEquals(360 * 5, all(stepwise = false)) }

    @Test
    fun `an action whose rows are written one by one is caught`() =
        story {
            val some = all.filterIndexed { number, _ -> number % 60 == 0 }
            val fresh = fresh()
            val caught = some.count { order -> runCatching { One(this, fresh, order, End.RETURNS, stepwise = true, torn = true).run() }.exceptionOrNull() is Broken }
            assertTrue(caught > 0, "of ${some.size} orders none")
        }

    private suspend fun Story.fresh(): String = offline().also { it.shutdown() }.path

    private suspend fun Story.all(stepwise: Boolean): Int {
        val fresh = fresh()
        return eachOf(End.entries.flatMap { end -> all.map { it to end } }) { (order, end) -> One(this, fresh, order, end, stepwise).run() }
    }

    /** One order, on a file of its own. */
    private class One(
        private val story: Story,
        /** A file with the tables, which nobody has open. */
        private val fresh: String,
        private val order: List<Event>,
        private val end: End,
        private val stepwise: Boolean,
        /** Broken on purpose: a row of the action is there without it. */
        private val torn: Boolean = false,
    ) {
        private val gate = Gate()
        private lateinit var client: RejoinClient
        private var performed: Deferred<Result<Performed>>? = null
        private var write: Deferred<Result<Any?>>? = null
        private val others = mutableListOf<Deferred<Result<Any?>>>()
        private val model = Model(end)

        private val actions = Actions { handler("both") { context, _ -> code(context) } }

        private val ids = "SELECT id FROM task ORDER BY id"

        suspend fun run() {
            val file = File(fresh).copyTo(File(story.file())).path
            client = RejoinClient.open(RejoinConfig(file, transactionIdle = 20.seconds), actions = actions)
            if (torn) client.adds("h1", "torn")
            val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
            try {
                guarded({ "$order, $end" }, 30.seconds) {
                    val watch = scope.tried { client.watch(ids) { it.string(0) }.collect(::whole) }
                    for (event in order) scope.step(event)
                    (listOfNotNull(performed, write, watch) + others).joinAll()
                    for (job in others + watch) job.result().exceptionOrNull()?.let(::expected)
                }
            } finally {
                scope.coroutineContext.job.cancel()
            }
            // Its caller may not have heard of the end, but the file is closed when everybody has.
            client.shutdown()
            check(RejoinClient.open(file))
        }

        private suspend fun CoroutineScope.step(event: Event) {
            val running = model.open
            val dead = model.after(event)
            when (event) {
                Event.PERFORM -> performed = tried { client.perform("both") }.also { if (stepwise) until(gate, it) }
                Event.GOES_ON -> {
                    if (end == End.IS_CANCELLED) performed!!.cancel()
                    gate.open()
                    if (stepwise && (end != End.NEVER || !model.open)) performed!!.join()
                    // Whose caller was cancelled is not waited for by anybody; the queue is behind it.
                    if (stepwise && end == End.IS_CANCELLED && dead == null) client.pendingCounts()
                }
                Event.QUERY -> others += tried { queries(dead) }.also { if (stepwise) it.join() }
                // It waits for the action, if one runs: only then nothing may wait for it here.
                Event.WATCH_FIRES -> write = tried { client.adds("w", "x") }.also { if (stepwise && !model.open) it.join() }
                Event.SUSPEND -> leaves(running) { client.suspend() }
                Event.SHUTDOWN -> leaves(running) { client.shutdown() }
            }
        }

        private suspend fun CoroutineScope.leaves(running: Boolean, leave: suspend () -> Unit) {
            val leaving = tried { leave() }.also { others += it }
            if (!stepwise) return
            leaving.join()
            // The action is over, but whoever performed it may hear so later; cancelled in between, they would not hear it at all.
            if (running) performed!!.join()
        }

        private suspend fun code(context: ActionContext) {
            if (!torn) context.execute("INSERT INTO task(id, title) VALUES ('h1', 'x')")
            gate.pass()
            context.execute("INSERT INTO task(id, title) VALUES ('h2', 'x')")
            when (end) {
                End.RETURNS, End.IS_CANCELLED -> Unit
                End.THROWS -> throw Own()
                End.NEVER -> awaitCancellation()
                End.CALLS_BACK -> {
                    // It may be suspended or over by then; what it may not is stand still.
                    runCatching { client.query(ids) }.exceptionOrNull()?.let(::expected)
                    val said = runCatching { client.execute("DELETE FROM task") }.exceptionOrNull()
                    if (said !is RejoinException.InvalidInput) throw broken("a write inside the action gave $said")
                }
            }
        }

        private suspend fun queries(dead: Class<out RejoinException>?) {
            val seen = runCatching { client.query(ids) { it.string(0) } }
            seen.onSuccess(::whole)
            if (stepwise) {
                if (seen.exceptionOrNull()?.javaClass != dead) throw broken("a query gave $seen, not $dead")
                seen.onSuccess { if (("h2" in it) != model.done) throw broken("a query saw $it") }
            }
            seen.exceptionOrNull()?.let { throw it }
        }

        /** The file afterwards, against what the callers were told. */
        private suspend fun check(again: RejoinClient) {
            val rows = again.query(ids) { it.string(0) }.also(::whole)
            val queued = again.pending().map { it.action ?: it.rows.single().key }
            again.shutdown()
            if (!torn && queued.toSet() != setOf("both".takeIf { "h1" in rows }, "w".takeIf { it in rows }).filterNotNull().toSet()) {
                throw broken("$queued is queued, and there are $rows")
            }
            if (queued.distinct() != queued) throw broken("$queued is queued")
            val thrown = performed!!.result().exceptionOrNull()
            if (thrown !is CancellationException && (thrown == null) != ("h2" in rows)) throw broken("the action gave $thrown, and there are $rows")
            val written = write!!.result()
            if (written.isSuccess != "w" in rows) throw broken("the write gave $written, and there are $rows")
            written.exceptionOrNull()?.let(::expected)
            if (stepwise) {
                val kind = if (thrown is CancellationException) CancellationException::class.java else thrown?.javaClass
                if (kind != model.outcome) throw broken("the action gave $thrown, not ${model.outcome}")
                if (("h2" in rows) != model.done) throw broken("there are $rows")
            }
            val own = end == End.THROWS && thrown is RejoinException.Callback && Own().message!! in thrown.reason
            if (thrown !is CancellationException && !own) thrown?.let(::expected)
        }

        /** Nobody may ever see one row of the two. */
        private fun whole(ids: List<String>) {
            if (("h1" in ids) != ("h2" in ids)) throw broken("half an action: $ids")
        }

        /** What suspension and the end may do to a call; a timeout would mean that somebody waited for nothing. */
        private fun expected(thrown: Throwable) {
            if (thrown !is RejoinException.Suspended && thrown !is RejoinException.Ended) throw broken("unexpected $thrown")
        }

        private fun broken(what: String) = Broken("$order, $end: $what")
    }

    /** What must come of an order in which each step is waited for. */
    private class Model(private val end: End) {
        private var dead: Class<out RejoinException>? = null

        /** Whether the action runs. */
        var open = false

        /** Whether it is in the file. */
        var done = false

        /** What the action's caller is told; null: that it is done. */
        var outcome: Class<out Throwable>? = null

        /** Takes a step; tells what a new call would be refused with. */
        fun after(event: Event): Class<out RejoinException>? {
            when (event) {
                Event.PERFORM -> if (dead == null) open = true else outcome = dead
                Event.GOES_ON ->
                    if (open && end != End.NEVER) {
                        open = false
                        done = end != End.THROWS
                        if (end == End.THROWS) outcome = RejoinException.Callback::class.java
                        if (end == End.IS_CANCELLED) outcome = CancellationException::class.java
                    }
                Event.SUSPEND -> dies(RejoinException.Suspended::class.java)
                Event.SHUTDOWN -> dies(RejoinException.Ended::class.java)
                Event.QUERY, Event.WATCH_FIRES -> Unit
            }
            return dead
        }

        private fun dies(of: Class<out RejoinException>) {
            if (dead == null || of == RejoinException.Ended::class.java) dead = of
            if (open) {
                open = false
                outcome = of
            }
        }
    }
}
