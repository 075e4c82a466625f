/*
 * Every interleaving of an action that waits with other events. The action continues, throws, never ends, calls the
 * client or loses its caller, while queries, writes, suspension and shutdown happen.
 *
 * Each order runs twice on the real engine: stepwise, compared with a model, and without waiting between the steps. In
 * both, a performed action is complete in the file and in the queue once; any other leaves no trace. No reader sees a
 * partial action, and every coroutine ends under a watchdog.
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

private val ORDERS = if (isDeep) 360 else 90

class ActionInterleavingTest {
    private enum class Event { PERFORM, CONTINUES, QUERY, WATCH_FIRES, SUSPEND, SHUTDOWN }

    private enum class End { RETURNS, THROWS, NEVER, CALLS_BACK, IS_CANCELLED }

    private class Own : Exception("the action's own")

    private val all = orders(Event.entries, listOf(Event.PERFORM, Event.CONTINUES)).toList()

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `action outcome matches the model in every order`() =
        story(18.minutes) { assertEquals(ORDERS * 5, all(stepwise = true)) }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `concurrent events never block or split an action`() =
        story(18.minutes) { assertEquals(ORDERS * 5, all(stepwise = false)) }

    @Test
    fun `check detects rows written outside the action`() =
        story {
            val some = all.filterIndexed { number, _ -> number % 60 == 0 }
            val fresh = fresh()
            val caught = some.count { order -> runCatching { One(this, fresh, order, End.RETURNS, stepwise = true, torn = true).run() }.exceptionOrNull() is Broken }
            assertTrue(caught > 0, "none of ${some.size} orders detected it")
        }

    private suspend fun Story.fresh(): String = offline().also { it.shutdown() }.path

    private suspend fun Story.all(stepwise: Boolean): Int {
        val fresh = fresh()
        return eachOf(sample(all, End.entries)) { (order, end) -> One(this, fresh, order, end, stepwise).run() }
    }

    /** One order, on its own file. */
    private class One(
        private val story: Story,
        /** A file with the tables, not open. */
        private val fresh: String,
        private val order: List<Event>,
        private val end: End,
        private val stepwise: Boolean,
        /** Fault injection: one row of the action is written outside it. */
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
            // The caller may not have received the result yet; shutdown returns when all calls have.
            client.shutdown()
            check(RejoinClient.open(file))
        }

        private suspend fun CoroutineScope.step(event: Event) {
            val running = model.open
            val closed = model.after(event)
            when (event) {
                Event.PERFORM -> performed = tried { client.perform("both") }.also { if (stepwise) until(gate, it) }
                Event.CONTINUES -> {
                    if (end == End.IS_CANCELLED) performed!!.cancel()
                    gate.open()
                    if (stepwise && (end != End.NEVER || !model.open)) performed!!.join()
                    // No one awaits the action of a cancelled caller; the queue is read after it.
                    if (stepwise && end == End.IS_CANCELLED && closed == null) client.queue.counts()
                }
                Event.QUERY -> others += tried { queries(closed) }.also { if (stepwise) it.join() }
                // The write waits for a running action; then it must not be awaited here.
                Event.WATCH_FIRES -> write = tried { client.adds("w", "x") }.also { if (stepwise && !model.open) it.join() }
                Event.SUSPEND -> interrupt(running) { client.sync.suspend() }
                Event.SHUTDOWN -> interrupt(running) { client.shutdown() }
            }
        }

        private suspend fun CoroutineScope.interrupt(running: Boolean, call: suspend () -> Unit) {
            val interrupting = tried { call() }.also { others += it }
            if (!stepwise) return
            interrupting.join()
            // The action has ended, but its caller may get the result later; cancelling in between would lose it.
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
                    // The client may be suspended or shut down by then, but the call must not block.
                    runCatching { client.query(ids) }.exceptionOrNull()?.let(::expected)
                    val thrown = runCatching { client.execute("DELETE FROM task") }.exceptionOrNull()
                    if (thrown !is RejoinException.InvalidInput) throw broken("a write inside the action returned $thrown")
                }
            }
        }

        private suspend fun queries(closed: Class<out RejoinException>?) {
            val seen = runCatching { client.query(ids) { it.string(0) } }
            seen.onSuccess(::whole)
            if (stepwise) {
                if (seen.exceptionOrNull()?.javaClass != closed) throw broken("a query gave $seen, not $closed")
                seen.onSuccess { if (("h2" in it) != model.done) throw broken("a query saw $it") }
            }
            seen.exceptionOrNull()?.let { throw it }
        }

        /** Compares the file with the results that the callers received. */
        private suspend fun check(again: RejoinClient) {
            val rows = again.query(ids) { it.string(0) }.also(::whole)
            val queued = again.queue.all().map { it.action ?: it.rows.single().key }
            again.shutdown()
            if (!torn && queued.toSet() != setOf("both".takeIf { "h1" in rows }, "w".takeIf { it in rows }).filterNotNull().toSet()) {
                throw broken("$queued is queued, and there are $rows")
            }
            if (queued.distinct() != queued) throw broken("$queued is queued")
            val thrown = performed!!.result().exceptionOrNull()
            if (thrown !is CancellationException && (thrown == null) != ("h2" in rows)) throw broken("the action returned $thrown, and there are $rows")
            val written = write!!.result()
            if (written.isSuccess != "w" in rows) throw broken("the write gave $written, and there are $rows")
            written.exceptionOrNull()?.let(::expected)
            if (stepwise) {
                val kind = if (thrown is CancellationException) CancellationException::class.java else thrown?.javaClass
                if (kind != model.outcome) throw broken("the action returned $thrown, not ${model.outcome}")
                if (("h2" in rows) != model.done) throw broken("there are $rows")
            }
            val own = end == End.THROWS && thrown is RejoinException.Callback && Own().message!! in thrown.reason
            if (thrown !is CancellationException && !own) thrown?.let(::expected)
        }

        /** No reader may see only one of the two rows. */
        private fun whole(ids: List<String>) {
            if (("h1" in ids) != ("h2" in ids)) throw broken("half an action: $ids")
        }

        /** Errors that suspension and shutdown may cause; a timeout would mean a call blocked. */
        private fun expected(thrown: Throwable) {
            if (thrown !is RejoinException.Suspended && thrown !is RejoinException.Closed) throw broken("unexpected $thrown")
        }

        private fun broken(what: String) = Broken("$order, $end: $what")
    }

    /** The expected result of an order in which each step is awaited. */
    private class Model(private val end: End) {
        private var closed: Class<out RejoinException>? = null

        /** Whether the action is running. */
        var open = false

        /** Whether its rows are in the file. */
        var done = false

        /** The error that the action's caller gets; null for success. */
        var outcome: Class<out Throwable>? = null

        /** Advances the model; returns the error that a new call would get. */
        fun after(event: Event): Class<out RejoinException>? {
            when (event) {
                Event.PERFORM -> if (closed == null) open = true else outcome = closed
                Event.CONTINUES ->
                    if (open && end != End.NEVER) {
                        open = false
                        done = end != End.THROWS
                        if (end == End.THROWS) outcome = RejoinException.Callback::class.java
                        if (end == End.IS_CANCELLED) outcome = CancellationException::class.java
                    }
                Event.SUSPEND -> close(RejoinException.Suspended::class.java)
                Event.SHUTDOWN -> close(RejoinException.Closed::class.java)
                Event.QUERY, Event.WATCH_FIRES -> Unit
            }
            return closed
        }

        private fun close(of: Class<out RejoinException>) {
            if (closed == null || of == RejoinException.Closed::class.java) closed = of
            if (open) {
                open = false
                outcome = of
            }
        }
    }
}
