/*
 * Transactions, savepoints and snapshots held by coroutines: atomic, whatever happens to the coroutine.
 */
package dev.rejoin

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
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
                tx.savepoint { inside { client.executeBatch("DELETE FROM note") } }
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
                assertEquals(1, client.queryAll(Statement("SELECT * FROM note")).size)
                assertEquals(1L, client.read { it.query("SELECT 1") }[0].long(0))
                assertEquals(0, client.watch("SELECT * FROM note").first().size)
                client.setNetwork(online = false)
                client.foreground()
            }
            assertEquals(listOf("x"), client.notes())
        }

    /** Every call that is rejected inside the client's own transaction; the same list as in Swift. */
    private fun waitingCalls(client: RejoinClient): List<Pair<String, suspend () -> Any?>> =
        listOf(
            "execute" to { client.execute(insert, "a", "x") },
            "executeReturning" to { client.executeReturning("SELECT 1") },
            "executeBatch" to { client.executeBatch("DELETE FROM note") },
            "batch" to { client.batch(emptyList()) },
            "transaction" to { client.transaction { } },
            "perform" to { client.perform("look") },
            "createTable" to { client.createTable("other", "id") },
            "alterTable" to { client.alterTable("note", "more TEXT") },
            "createIndex" to { client.createIndex("note", "body") },
            "createSearchIndex" to { client.createSearchIndex("note", "body") },
            "dropSearchIndex" to { client.dropSearchIndex("note") },
            "start" to { client.start() },
            "stop" to { client.stop() },
            "syncNow" to { client.syncNow() },
            "syncAndWait" to { client.syncAndWait() },
            "waitForFirstSync" to { client.waitForFirstSync() },
            "credentialsChanged" to { client.credentialsChanged() },
            "pending" to { client.pending() },
            "pendingCounts" to { client.pendingCounts() },
            "rowSyncState" to { client.rowSyncState("note", "a") },
            "discard" to { client.discard("0") },
            "verdict" to { client.verdict("0") },
            "retry" to { client.retry("0") },
            "retryChain" to { client.retryChain("0") },
            "edit" to { client.edit("0", emptyList()) },
            "edit by a transaction" to { client.edit("0") { } },
            "discardChain" to { client.discardChain("0") },
            "verdicts" to { client.verdicts(1) },
            "acknowledgeVerdicts" to { client.acknowledgeVerdicts(1) },
            "history" to { client.history(1) },
            "undo" to { client.undo("0") },
            "redo" to { client.redo("0") },
            "prune" to { client.prune(HistoryBounds()) },
            "reset" to { client.reset(Keep.PENDING) },
            "suspend" to { client.suspend() },
            "resume" to { client.resume() },
            "shutdown" to { client.shutdown() },
            "diagnose" to { client.diagnose() },
            "checkpoint" to { client.checkpoint(CheckpointMode.PASSIVE) },
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
            for (dispatcher in listOf(Dispatchers.Default, Dispatchers.Unconfined, Dispatchers.IO)) {
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
