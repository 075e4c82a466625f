/*
 * The riskiest thing: a transaction whose body waits, and everything that can happen meanwhile, in every order there is.
 *
 * Each order is run twice on the real engine: step by step, where a model says exactly what must come of it, and without waiting
 * between the steps, where whatever races there are may be lost either way. In both, a transaction that returned is in the file
 * whole, one that did not has left nothing, nobody ever sees a half, and every coroutine ends under a watchdog.
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

class InterleavingTest {
    private enum class Event { BEGIN, AWAIT, END, QUERY, WATCH_FIRES, SUSPEND, SHUTDOWN }

    private enum class End { RETURNS, THROWS, IS_CANCELLED }

    private class Own : Exception()

    private val chain = listOf(Event.BEGIN, Event.AWAIT, Event.END)
    private val all = orders(Event.entries, chain).toList()

    /** What runs a body in a transaction; the sound one, or a broken one that must be caught. */
    private fun interface Transact {
        suspend fun run(client: RejoinClient, body: suspend (Transaction) -> Unit)
    }

    private val sound = Transact { client, body -> client.transaction(body) }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `in every order, step by step, exactly what the model says comes of it`() =
        story(15.minutes) { assertEquals(840 * 3, each(stepwise = true)) }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `in every order, all at once, nothing is stuck and nothing is half`() =
        story(15.minutes) { assertEquals(840 * 3, each(stepwise = false)) }

    private suspend fun Story.each(stepwise: Boolean): Int {
        val fresh = fresh()
        return eachOf(End.entries.flatMap { end -> all.map { it to end } }) { (order, end) -> One(this, fresh, order, end, sound, stepwise).run() }
    }

    /** A file with the table, which nobody has open: most orders take longer to make one than to run. */
    private suspend fun Story.fresh(): String = local().also { it.shutdown() }.path

    @Test
    fun `a transaction that is none is caught`() =
        story {
            // Each statement in a transaction of its own, as code without transactions does it.
            val none =
                Transact { client, body ->
                    client.transaction { it.execute("INSERT INTO note VALUES ('h1', 'x')") }
                    client.transaction { tx -> body(tx) }
                }
            assertTrue(caught(none) > 0)
        }

    @Test
    fun `a transaction that outlives its coroutine is caught`() =
        story {
            val stuck =
                Transact { client, body ->
                    client.transaction { tx -> withContext(NonCancellable) { body(tx) } }
                }
            assertTrue(caught(stuck, watchdog = 2) > 0)
        }

    /** In how many of some orders this is found out. */
    private suspend fun Story.caught(transact: Transact, watchdog: Int = 30): Int {
        val some = all.filterIndexed { number, _ -> number % 120 == 0 }
        val fresh = fresh()
        return some.sumOf { order ->
            End.entries.count { end ->
                runCatching { One(this, fresh, order, end, transact, stepwise = true, watchdog).run() }.exceptionOrNull() is Broken
            }
        }
    }

    /** One order, on a file of its own. */
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
                    // One that had not begun when the end came is refused as any call; one that had, ends.
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
                // It waits for the transaction, if one is open: only then nothing may wait for it here.
                Event.WATCH_FIRES -> write = tried { client.execute("INSERT INTO note VALUES ('w', 'x')") }.also { if (stepwise && !model.open) it.join() }
                Event.SUSPEND -> others += tried { client.suspend() }.also { if (stepwise) it.join() }
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

        private suspend fun queries(dead: Class<out RejoinException>?) {
            val seen = runCatching { client.query("SELECT id FROM note") { it.string(0) } }
            seen.onSuccess(::whole)
            if (stepwise) {
                if (seen.exceptionOrNull()?.javaClass != dead) throw broken("a query gave $seen, not $dead")
                seen.onSuccess { if (("h1" in it) != model.committed) throw broken("a query saw $it") }
            }
            seen.exceptionOrNull()?.let { throw it }
        }

        /** The file afterwards, against what the callers were told. */
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

        /** Nobody may ever see one row of the two. */
        private fun whole(ids: List<String>) {
            if (("h1" in ids) != ("h2" in ids)) throw broken("half a transaction: $ids")
        }

        /** What suspension and the end may do to a call; the idle timeout would mean that somebody waited for nothing. */
        private fun expected(thrown: Throwable) {
            if (thrown !is RejoinException.Suspended && thrown !is RejoinException.Ended) throw broken("unexpected $thrown")
        }

        private fun broken(what: String) = Broken("$order, $end: $what")
    }

    /** What must come of an order in which each step is waited for. */
    private class Model {
        private var dead: Class<out RejoinException>? = null
        private var lost: Class<out RejoinException>? = null
        private var done = false
        var open = false
        var committed = false

        /** What the transaction's caller is told; null: that it is done. */
        var outcome: Class<out Throwable>? = null

        /** Takes a step; tells what a new call would be refused with. */
        fun after(event: Event, end: End): Class<out RejoinException>? {
            when (event) {
                Event.BEGIN -> if (dead == null) open = true else ends(dead)
                Event.AWAIT -> if (open && lost != null) ends(lost)
                Event.END ->
                    if (!done) {
                        when (end) {
                            End.RETURNS -> ends(lost).also { committed = lost == null }
                            End.THROWS -> ends(Own::class.java)
                            End.IS_CANCELLED -> ends(CancellationException::class.java)
                        }
                    }
                Event.SUSPEND -> dies(RejoinException.Suspended::class.java)
                Event.SHUTDOWN -> dies(RejoinException.Ended::class.java)
                Event.QUERY, Event.WATCH_FIRES -> Unit
            }
            return dead
        }

        private fun ends(outcome: Class<out Throwable>?) {
            this.outcome = outcome
            open = false
            done = true
        }

        private fun dies(of: Class<out RejoinException>) {
            if (dead == null || of == RejoinException.Ended::class.java) dead = of
            if (open && lost == null) lost = of
        }
    }
}

/** Begins at once, and keeps what is thrown. */
fun <T> CoroutineScope.tried(block: suspend () -> T): Deferred<Result<T>> =
    async(start = CoroutineStart.UNDISPATCHED) { runCatching { block() } }

/** What came of it; a coroutine that was cancelled from outside gave a cancellation. */
suspend fun <T> Deferred<Result<T>>.result(): Result<T> = runCatching { await() }.getOrElse { Result.failure(it) }

/** Until the handler stands at the gate, or has ended. */
suspend fun until(gate: Gate, handler: Deferred<*>): Unit =
    select {
        gate.arrived.onAwait { }
        handler.onJoin { }
    }
