/*
 * Every interleaving of a transaction whose body waits with other events.
 *
 * Each order runs twice on the real engine: stepwise, compared with a model, and without waiting between the steps, where
 * races may end either way. In both, a transaction that returned is complete in the file; any other leaves no trace. No
 * reader sees a partial transaction, and every coroutine ends under a watchdog.
 */
package dev.rejoin

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.job
import kotlinx.coroutines.joinAll
import kotlinx.coroutines.selects.select
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.io.File
import java.util.concurrent.TimeUnit
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

private val ORDERS = if (isDeep) 840 else 210

class InterleavingTest {
    private enum class Event { BEGIN, AWAIT, END, QUERY, WATCH_FIRES, SUSPEND, SHUTDOWN }

    private enum class End { RETURNS, THROWS, IS_CANCELLED }

    private class Own : Exception()

    private val chain = listOf(Event.BEGIN, Event.AWAIT, Event.END)
    private val all = orders(Event.entries, chain).toList()

    /** Runs a body in a transaction: the correct implementation, or a broken one that must be detected. */
    private fun interface Transact {
        suspend fun run(client: RejoinClient, body: suspend (Transaction) -> Unit)
    }

    private val sound = Transact { client, body -> client.transaction(body) }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `transaction outcome matches the model in every order`() =
        story(15.minutes) { assertEquals(ORDERS * 3, each(stepwise = true)) }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `concurrent events never block or split a transaction`() =
        story(15.minutes) { assertEquals(ORDERS * 3, each(stepwise = false)) }

    private suspend fun Story.each(stepwise: Boolean): Int {
        val fresh = fresh()
        return eachOf(sample(all, End.entries)) { (order, end) -> One(this, fresh, order, end, sound, stepwise).run() }
    }

    /** A file with the table, not open; copying it is faster than creating it per order. */
    private suspend fun Story.fresh(): String = local().also { it.shutdown() }.path

    @Test
    fun `check detects a missing transaction`() =
        story {
            // Each statement in its own transaction, as without transactions.
            val none =
                Transact { client, body ->
                    client.transaction { it.execute("INSERT INTO note VALUES ('h1', 'x')") }
                    client.transaction { tx -> body(tx) }
                }
            assertTrue(caught(none) > 0)
        }

    @Test
    fun `check detects a transaction that outlives its coroutine`() =
        story {
            val stuck =
                Transact { client, body ->
                    client.transaction { tx -> withContext(NonCancellable) { body(tx) } }
                }
            assertTrue(caught(stuck, watchdog = 2) > 0)
        }

    /** Number of sampled orders in which the fault is detected. */
    private suspend fun Story.caught(transact: Transact, watchdog: Int = 30): Int {
        val some = all.filterIndexed { number, _ -> number % 120 == 0 }
        val fresh = fresh()
        return some.sumOf { order ->
            End.entries.count { end ->
                runCatching { One(this, fresh, order, end, transact, stepwise = true, watchdog).run() }.exceptionOrNull() is Broken
            }
        }
    }

    /** One order, on its own file. */
    private inner class One(
        private val story: Story,
        private val fresh: String,
        private val order: List<Event>,
        private val end: End,
        private val transact: Transact,
        private val stepwise: Boolean,
        private val watchdog: Int = 30,
    ) {
        private val first = Gate()
        private val second = Gate()
        private lateinit var client: RejoinClient
        private var transaction: Deferred<Result<Unit>>? = null
        private val others = mutableListOf<Deferred<Result<Any?>>>()
        private var write: Deferred<Result<Any?>>? = null
        private val model = Model()

        suspend fun run() {
            val file = File(fresh).copyTo(File(story.file())).path
            client = RejoinClient.open(file)
            val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
            try {
                guarded({ "$order, $end" }, watchdog.seconds) {
                    val watching = Gate().also { it.open() }
                    val watch = scope.tried { client.watch("SELECT id FROM note") { it.string(0) }.collect { whole(it).also { watching.pass() } } }
                    if (stepwise) until(watching, watch)
                    for (event in order) scope.step(event)
                    val jobs = listOfNotNull(transaction, write, watch) + others
                    jobs.joinAll()
                    others.forEach { it.await().exceptionOrNull()?.let(::expected) }
                    // A watch that starts after shutdown fails like any call; a running one completes.
                    watch.await().exceptionOrNull()?.let { if (stepwise) throw broken("the watch failed: $it") else expected(it) }
                }
            } finally {
                scope.coroutineContext.job.cancel()
            }
            check(RejoinClient.open(file))
        }

        private suspend fun CoroutineScope.step(event: Event) {
            val begun = model.after(event, end)
            when (event) {
                Event.BEGIN -> transaction = tried { transact.run(client, ::body) }.also { if (stepwise) until(first, it) }
                Event.AWAIT -> first.open().also { if (stepwise) until(second, transaction!!) }
                Event.END -> {
                    if (end == End.IS_CANCELLED) transaction!!.cancel() else second.open()
                    if (stepwise) transaction!!.join()
                }
                Event.QUERY -> others += tried { queries(begun) }.also { if (stepwise) it.join() }
                // The write waits for an open transaction; then it must not be awaited here.
                Event.WATCH_FIRES -> write = tried { client.execute("INSERT INTO note VALUES ('w', 'x')") }.also { if (stepwise && !model.open) it.join() }
                Event.SUSPEND -> others += tried { client.sync.suspend() }.also { if (stepwise) it.join() }
                Event.SHUTDOWN -> others += tried { client.shutdown() }.also { if (stepwise) it.join() }
            }
        }

        private suspend fun body(tx: Transaction) {
            tx.execute("INSERT OR REPLACE INTO note VALUES ('h1', 'x')")
            first.pass()
            tx.execute("INSERT INTO note VALUES ('h2', 'x')")
            second.pass()
            if (end == End.THROWS) throw Own()
            if (end == End.IS_CANCELLED) awaitCancellation()
        }

        private suspend fun queries(closed: Class<out RejoinException>?) {
            val seen = runCatching { client.query("SELECT id FROM note") { it.string(0) } }
            seen.onSuccess(::whole)
            if (stepwise) {
                if (seen.exceptionOrNull()?.javaClass != closed) throw broken("a query gave $seen, not $closed")
                seen.onSuccess { if (("h1" in it) != model.committed) throw broken("a query saw $it") }
            }
            seen.exceptionOrNull()?.let { throw it }
        }

        /** Compares the file with the results that the callers received. */
        private suspend fun check(again: RejoinClient) {
            val rows = again.query("SELECT id FROM note") { it.string(0) }.also(::whole)
            again.shutdown()
            val outcome = transaction!!.result()
            if (outcome.isSuccess != "h1" in rows) throw broken("the transaction gave $outcome, and there are $rows")
            val written = write!!.result()
            if (written.isSuccess != "w" in rows) throw broken("the write gave $written, and there are $rows")
            written.exceptionOrNull()?.let(::expected)
            val thrown = outcome.exceptionOrNull()
            if (stepwise && kind(thrown) != model.outcome) throw broken("the transaction gave $thrown, not ${model.outcome}")
            if (thrown !is Own && thrown !is CancellationException) thrown?.let(::expected)
        }

        private fun kind(thrown: Throwable?): Class<out Throwable>? =
            if (thrown is CancellationException) CancellationException::class.java else thrown?.javaClass

        /** No reader may see only one of the two rows. */
        private fun whole(ids: List<String>) {
            if (("h1" in ids) != ("h2" in ids)) throw broken("half a transaction: $ids")
        }

        /** Errors that suspension and shutdown may cause; the idle timeout would mean a call blocked. */
        private fun expected(thrown: Throwable) {
            if (thrown !is RejoinException.Suspended && thrown !is RejoinException.Closed) throw broken("unexpected $thrown")
        }

        private fun broken(what: String) = Broken("$order, $end: $what")
    }

    /** The expected result of an order in which each step is awaited. */
    private class Model {
        private var closed: Class<out RejoinException>? = null
        private var lost: Class<out RejoinException>? = null
        private var done = false
        var open = false
        var committed = false

        /** The error that the transaction's caller gets; null for success. */
        var outcome: Class<out Throwable>? = null

        /** Advances the model; returns the error that a new call would get. */
        fun after(event: Event, end: End): Class<out RejoinException>? {
            when (event) {
                Event.BEGIN -> if (closed == null) open = true else ends(closed)
                Event.AWAIT -> if (open && lost != null) ends(lost)
                Event.END ->
                    if (!done) {
                        when (end) {
                            End.RETURNS -> ends(lost).also { committed = lost == null }
                            End.THROWS -> ends(Own::class.java)
                            End.IS_CANCELLED -> ends(CancellationException::class.java)
                        }
                    }
                Event.SUSPEND -> close(RejoinException.Suspended::class.java)
                Event.SHUTDOWN -> close(RejoinException.Closed::class.java)
                Event.QUERY, Event.WATCH_FIRES -> Unit
            }
            return closed
        }

        private fun ends(outcome: Class<out Throwable>?) {
            this.outcome = outcome
            open = false
            done = true
        }

        private fun close(of: Class<out RejoinException>) {
            if (closed == null || of == RejoinException.Closed::class.java) closed = of
            if (open && lost == null) lost = of
        }
    }
}

/** Starts at once and captures exceptions. */
fun <T> CoroutineScope.tried(block: suspend () -> T): Deferred<Result<T>> =
    async(start = CoroutineStart.UNDISPATCHED) { runCatching { block() } }

/** The result; cancellation from outside is a failure with CancellationException. */
suspend fun <T> Deferred<Result<T>>.result(): Result<T> = runCatching { await() }.getOrElse { Result.failure(it) }

/** Waits until the handler reaches the gate or has ended. */
suspend fun until(gate: Gate, handler: Deferred<*>): Unit =
    select {
        gate.arrived.onAwait { }
        handler.onJoin { }
    }
