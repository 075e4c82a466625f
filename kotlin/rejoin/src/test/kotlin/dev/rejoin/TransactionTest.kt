/*
 * Transactions, savepoints and snapshots held by coroutines: atomic, whatever happens to the coroutine.
 */
package dev.rejoin

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.Job
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancel
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.coroutines.yield
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.util.concurrent.Executor
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

class TransactionTest {
    private class Own : Exception("the app's own")

    private val insert = "INSERT INTO note VALUES (?, ?)"

    @Test
    fun `cancellation rolls back wherever the body waits`() =
        story {
            val client = local()
            val inside = CompletableDeferred<Unit>()
            val job =
                launch {
                    client.transaction { tx ->
                        tx.execute(insert, "a", "one")
                        inside.complete(Unit)
                        awaitCancellation()
                    }
                }
            inside.await()
            job.cancelAndJoin()
            assertEquals(0, client.notes().size)
            client.execute(insert, "b", "two") // The writer is free again.
            assertNull(
                withTimeoutOrNull(50.milliseconds) {
                    client.transaction { it.execute(insert, "c", "three"); awaitCancellation() }
                },
            )
            assertEquals(listOf("two"), client.notes())
        }

    @Test
    fun `body that swallows cancellation is rolled back`() =
        story {
            val client = local()
            val inside = CompletableDeferred<Unit>()
            val job =
                launch {
                    client.transaction { tx ->
                        tx.execute(insert, "a", "one")
                        inside.complete(Unit)
                        try {
                            awaitCancellation()
                        } catch (_: CancellationException) {
                            // Faulty code.
                        }
                    }
                }
            inside.await()
            job.cancelAndJoin()
            assertEquals(0, client.notes().size)
        }

    @Test
    fun `failed savepoint reverts only its own writes`() =
        story {
            val client = local()
            client.transaction { tx ->
                tx.execute(insert, "a", "one")
                val thrown = runCatching { tx.savepoint { it.execute(insert, "b", "two"); throw Own() } }.exceptionOrNull()
                assertTrue(thrown is Own, "$thrown")
                tx.savepoint { outer ->
                    outer.execute(insert, "c", "three")
                    runCatching { outer.savepoint { it.execute(insert, "d", "four"); throw Own() } }
                }
                assertNull(withTimeoutOrNull(50.milliseconds) { tx.savepoint { it.execute(insert, "e", "five"); awaitCancellation() } })
            }
            assertEquals(listOf("one", "three"), client.notes())
        }

    @Test
    fun `call that waits for its own transaction is rejected`() =
        story {
            val client = local()
            val twin = RejoinClient.open(client.path)
            client.transaction { tx ->
                for ((name, call) in waitingCalls(client)) {
                    val why = refused<RejoinException.InvalidInput> { call() }
                    assertTrue(why.reason.startsWith("called from inside a transaction"), "$name: ${why.reason}")
                }
                inside { twin.batch(emptyList()) } // Shares the writer.
                tx.savepoint { inside { client.executeScript("DELETE FROM note") } }
                // Also in child coroutines and on another dispatcher.
                coroutineScope { launch(Dispatchers.IO) { inside { client.executeReturning("SELECT 1") } } }
                tx.execute(insert, "b", "y")
            }
            assertEquals(listOf("y"), client.notes())
        }

    @Test
    fun `call that does not wait is allowed in a transaction`() =
        story {
            val client = local()
            client.transaction { tx ->
                tx.execute(insert, "a", "x")
                assertEquals(0, client.query("SELECT * FROM note").size)
                assertEquals(1, client.queryMany(Statement("SELECT * FROM note")).size)
                assertEquals(1L, client.read { it.query("SELECT 1") }[0].long(0))
                assertEquals(0, client.watch("SELECT * FROM note").first().size)
                client.sync.setNetwork(online = false)
                client.sync.foreground()
            }
            assertEquals(listOf("x"), client.notes())
        }

    /** Every call that is rejected inside the client's own transaction; the same list as in Swift. */
    private fun waitingCalls(client: RejoinClient): List<Pair<String, suspend () -> Any?>> =
        listOf(
            "execute" to { client.execute(insert, "a", "x") },
            "executeReturning" to { client.executeReturning("SELECT 1") },
            "executeScript" to { client.executeScript("DELETE FROM note") },
            "batch" to { client.batch(emptyList()) },
            "transaction" to { client.transaction { } },
            "perform" to { client.perform("look") },
            "schema.createTable" to { client.schema.createTable("other", "id") },
            "schema.alterTable" to { client.schema.alterTable("note", "more TEXT") },
            "schema.createIndex" to { client.schema.createIndex("note", "body") },
            "schema.createSearchIndex" to { client.schema.createSearchIndex("note", "body") },
            "schema.dropSearchIndex" to { client.schema.dropSearchIndex("note") },
            "start" to { client.start() },
            "stop" to { client.stop() },
            "sync.request" to { client.sync.request() },
            "sync.run" to { client.sync.run() },
            "sync.firstSync" to { client.sync.firstSync() },
            "sync.credentialsChanged" to { client.sync.credentialsChanged() },
            "queue.all" to { client.queue.all() },
            "queue.counts" to { client.queue.counts() },
            "queue.rowState" to { client.queue.rowState("note", "a") },
            "queue.discard" to { client.queue.discard("0") },
            "queue.verdict" to { client.queue.verdict("0") },
            "queue.retry" to { client.queue.retry("0") },
            "queue.retryChain" to { client.queue.retryChain("0") },
            "queue.edit" to { client.queue.edit("0", emptyList()) },
            "queue.edit by a transaction" to { client.queue.edit("0") { } },
            "queue.discardChain" to { client.queue.discardChain("0") },
            "queue.verdicts" to { client.queue.verdicts(1) },
            "queue.acknowledgeVerdicts" to { client.queue.acknowledgeVerdicts(1) },
            "queue.history" to { client.queue.history(1) },
            "queue.undo" to { client.queue.undo("0") },
            "queue.redo" to { client.queue.redo("0") },
            "queue.prune" to { client.queue.prune(HistoryBounds()) },
            "storage.reset" to { client.storage.reset(Keep.PENDING) },
            "sync.suspend" to { client.sync.suspend() },
            "sync.resume" to { client.sync.resume() },
            "shutdown" to { client.shutdown() },
            "storage.diagnose" to { client.storage.diagnose() },
            "storage.checkpoint" to { client.storage.checkpoint(CheckpointMode.PASSIVE) },
        )

    /** Rejected because of the transaction, not because of its arguments. */
    private suspend fun inside(call: suspend () -> Any?) {
        val why = refused<RejoinException.InvalidInput> { call() }
        assertTrue(why.reason.startsWith("called from inside a transaction"), why.reason)
    }

    @Test
    fun `transactions on two files nest`() =
        story {
            val (one, two) = local() to local()
            one.transaction { outer ->
                two.transaction { inner ->
                    outer.execute(insert, "a", "one")
                    inner.execute(insert, "a", "two")
                    refused<RejoinException.InvalidInput> { one.execute("DELETE FROM note") }
                }
            }
            assertEquals(listOf("one", "two"), one.notes() + two.notes())
        }

    @Test
    fun `concurrent transactions queue and lose nothing`() =
        story {
            val client = local()
            client.execute(insert, "n", "0")
            val writers =
                List(20) {
                    async {
                        client.transaction { tx ->
                            val before = tx.query("SELECT body FROM note")[0].string(0).toInt()
                            delay(1.milliseconds)
                            tx.execute("UPDATE note SET body = ?", "${before + 1}")
                        }
                    }
                }
            writers.forEach { it.await() }
            assertEquals(listOf("20"), client.notes())
        }

    @Test
    fun `idle transaction is rolled back with TransactionTimeout`() =
        story {
            val client = local(RejoinConfig(file(), transactionIdle = 100.milliseconds))
            val why =
                refused<RejoinException.TransactionTimeout> {
                    client.transaction { tx ->
                        tx.execute(insert, "a", "one")
                        // A coroutine of another scope: the self-wait cannot be detected.
                        CoroutineScope(Dispatchers.Default).async { client.execute(insert, "b", "two") }.await()
                    }
                }
            assertTrue(why.reason.isNotEmpty())
            assertEquals(listOf("two"), client.notes())
        }

    @Test
    fun `cancelled callers never block the writer`() =
        // The watchdog is shorter than the idle time, so a transaction that is not released is detected.
        story(50.seconds) {
            val client = local(RejoinConfig(file(), transactionIdle = 1.minutes))
            val atOnce = Executor { it.run() }.asCoroutineDispatcher()
            for (dispatcher in listOf(Dispatchers.Default, Dispatchers.Unconfined, Dispatchers.IO, atOnce)) {
                repeat(200) { number ->
                    val callers =
                        List(3) { caller ->
                            launch(dispatcher) {
                                if (caller == 0) client.read { it.query("SELECT 1") } else client.transaction { it.execute(insert, "$number-$caller", "x") }
                            }
                        }
                    repeat(number % 40) { yield() }
                    callers.forEach { it.cancelAndJoin() }
                }
                client.execute("DELETE FROM note")
            }
            assertEquals(0, client.notes().size)
        }

    @Test
    fun `use after the end of a transaction throws`() =
        story {
            val client = local()
            lateinit var kept: Transaction
            client.transaction { kept = it }
            refused<RejoinException.InvalidInput> { kept.execute("DELETE FROM note") }
            lateinit var seen: Snapshot
            client.read { seen = it }
            refused<RejoinException.InvalidInput> { seen.query("SELECT 1") }
        }

    @Test
    fun `unawaited savepoint is never partly committed`() =
        story {
            val client = local()
            val (written, never) = CompletableDeferred<Unit>() to CompletableDeferred<Unit>()
            val beside = CoroutineScope(Dispatchers.Default)
            refused<RejoinException.InvalidInput> {
                client.transaction { tx ->
                    tx.execute(insert, "a", "one")
                    beside.launch { tx.savepoint { it.execute(insert, "b", "half"); written.complete(Unit); never.await() } }
                    written.await()
                }
            }
            beside.cancel()
            assertEquals(0, client.notes().size)
            client.transaction { tx -> tx.savepoint { tx.savepoint { it.execute(insert, "c", "whole") } } }
            assertEquals(listOf("whole"), client.notes())
        }

    @Test
    fun `coroutine may write after its transaction has ended`() =
        story {
            val client = local()
            val over = CompletableDeferred<Unit>()
            lateinit var later: Deferred<Long>
            client.transaction {
                val context = currentCoroutineContext().minusKey(Job)
                refused<RejoinException.InvalidInput> { client.execute(insert, "a", "inside") }
                later = CoroutineScope(context).async { over.await(); client.execute(insert, "b", "later") }
            }
            over.complete(Unit)
            assertEquals(1, later.await())
        }
}
