/*
 * Generated code for generateAsync = true, against the engine and a server.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.async.coroutines.awaitAsList
import app.cash.sqldelight.async.coroutines.awaitAsOne
import app.cash.sqldelight.coroutines.asFlow
import app.cash.sqldelight.coroutines.mapToList
import app.notes.Draft
import app.notes.NotesDatabase
import dev.rejoin.MutationState
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.yield
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Duration.Companion.milliseconds

class NotesTest {
    private class Own : Exception("the app's own")

    private suspend fun RejoinClient.notes(): NotesDatabase {
        createOrMigrate(NotesDatabase.Schema)
        return NotesDatabase(RejoinSqlDriver(this))
    }

    private suspend fun NotesDatabase.titles() = taskQueries.all().awaitAsList().map { it.title }

    @Test
    fun `generated queries write and read`() =
        story {
            val notes = offline().notes()
            assertEquals(1, notes.taskQueries.add("t1", "buy milk"))
            assertEquals("buy bread", notes.taskQueries.addReturning("t2", "buy bread").awaitAsOne())
            assertEquals(1, notes.taskQueries.rename("buy eggs", "6", "t1"))
            assertEquals(listOf("t1"), notes.taskQueries.named(listOf("buy eggs", "none")).awaitAsList())
            val (first, second) = notes.taskQueries.all().awaitAsList()
            assertEquals(listOf("buy eggs", false, 0L, "6", null), listOf(first.title, first.done, first.rank, first.note, second.note))

            notes.draftQueries.add(Draft(0, "t1", 1.5, byteArrayOf(1), pinned = true))
            val draft = notes.draftQueries.all().awaitAsOne()
            assertEquals(listOf("t1", 1.5, true), listOf(draft.body, draft.size, draft.pinned))
            assertArrayEquals(byteArrayOf(1), draft.picture)
            notes.taskQueries.remove("t1") // Its trigger deletes the draft.
            assertEquals(0, notes.draftQueries.all().awaitAsList().size)
        }

    @Test
    fun `one transaction is one mutation`() =
        story {
            val client = offline()
            val notes = client.notes()
            notes.transaction {
                notes.taskQueries.add("t1", "one")
                notes.taskQueries.addPair("t2", "two", "t3").await()
                assertEquals(listOf("one", "two", "two"), notes.titles()) // It sees its own writes.
                assertEquals(0, client.query("SELECT * FROM task").size) // Others do not.
            }
            assertEquals(listOf(3), client.queue.all().map { it.rows.size })
            runCatching { notes.transaction { notes.taskQueries.add("t4", "four"); throw Own() } }
            notes.transaction { notes.taskQueries.add("t5", "five"); rollback() }
            assertEquals(1 to 3, client.queue.all().size to notes.titles().size)
        }

    @Test
    fun `remote change notifies a query`() =
        story {
            val server = server()
            val (here, other) = server.run { device() to device() }
            val notes = here.notes()
            val seen = Channel<List<String>>(Channel.UNLIMITED)
            val watching = launch { notes.taskQueries.all().asFlow().mapToList(Dispatchers.Default).collect { rows -> seen.send(rows.map { it.title }) } }
            assertEquals(emptyList<String>(), seen.receive())
            other.notes().taskQueries.add("t1", "from afar")
            other.sync.run()
            here.sync.run()
            assertEquals(listOf("from afar"), generateSequence { seen.tryReceive().getOrNull() }.lastOrNull() ?: seen.receive())
            watching.cancelAndJoin()
        }

    @Test
    fun `parked mutation leaves the driver usable`() =
        story {
            val client = server().run { device() }
            val notes = client.notes()
            notes.taskQueries.add("t1", "refused") // The server's CHECK rejects this title.
            notes.taskQueries.add("t2", "good")
            client.sync.run()
            assertEquals(listOf(MutationState.PARKED), client.queue.all().map { it.state })
            notes.transaction { notes.taskQueries.add("t3", "better") }
            assertEquals(listOf("good", "better"), notes.titles().filter { it != "refused" })
            client.sync.run()
            assertEquals(listOf(MutationState.PARKED), client.queue.all().map { it.state })
        }

    @Test
    fun `violated rule leaves the transaction usable`() =
        story {
            val notes = offline().notes()
            notes.transaction {
                notes.taskQueries.addPair("t1", "x", "t2").await()
                notes.taskQueries.rename("x", "taken", "t1")
                val broken = refused<RejoinException.Constraint> { notes.taskQueries.rename("x", "taken", "t2") }
                assertEquals("UNIQUE" to "note", broken.rule to broken.column)
                notes.taskQueries.rename("y", "free", "t2")
            }
            assertEquals(listOf("x", "y"), notes.titles())
        }

    @Test
    fun `writes of several threads queue and lose nothing`() =
        story {
            val client = offline()
            val notes = client.notes()
            notes.taskQueries.add("t1", "0")
            val writers =
                List(8) { number ->
                    async(if (number % 2 == 0) Dispatchers.Default else Dispatchers.IO) {
                        repeat(10) {
                            notes.transaction {
                                val count = notes.titles().single().toInt()
                                yield()
                                notes.taskQueries.rename("${count + 1}", null, "t1")
                            }
                        }
                    }
                }
            writers.forEach { it.await() }
            assertEquals(listOf("80"), notes.titles())
        }

    @Test
    fun `cancelled transaction is rolled back wherever it waits`() =
        story {
            val client = offline()
            val notes = client.notes()
            repeat(40) { number ->
                val body = launch(Dispatchers.Default) { notes.transaction { notes.taskQueries.add("$number", "x"); awaitCancellation() } }
                val waiting = launch { notes.transaction { notes.taskQueries.add("w$number", "x"); awaitCancellation() } }
                repeat(number % 20) { yield() }
                waiting.cancelAndJoin()
                body.cancelAndJoin()
            }
            val inside = CompletableDeferred<Unit>()
            val swallowing = launch { notes.transaction { notes.taskQueries.add("s", "x"); inside.complete(Unit); runCatching { awaitCancellation() } } }
            inside.await()
            swallowing.cancelAndJoin()
            notes.taskQueries.add("free", "the writer is free")
            assertEquals(listOf("the writer is free"), notes.titles())
        }

    @Test
    fun `call that waits for its own transaction is rejected`() =
        story {
            val client = offline()
            val notes = client.notes()
            notes.transaction { refusedNaming("inside a transaction") { client.execute("DELETE FROM task") } }
            client.transaction {
                refusedNaming("inside a transaction") { notes.taskQueries.add("t1", "x") }
                refusedNaming("inside a transaction") { notes.transaction { } }
            }
            refusedNaming("newTransaction", "dispatch") { RejoinSqlDriver(client).newTransaction() }
        }

    @Test
    fun `failed commit throws its error`() =
        story {
            val client = offline { copy(transactionIdle = 100.milliseconds) }
            val notes = client.notes()
            var committed = false
            refused<RejoinException.TransactionTimeout> {
                notes.transaction {
                    afterCommit { committed = true }
                    notes.taskQueries.add("t1", "x")
                    withContext(Dispatchers.IO) { Thread.sleep(500) }
                }
            }
            assertTrue(!committed)
            assertEquals(emptyList<String>(), notes.titles())
        }
}
