/*
 * Generated code without generateAsync, against the engine: blocking calls make progress, and never on Android's main thread.
 */
package dev.rejoin.sqldelight

import android.os.Looper
import app.cash.sqldelight.async.coroutines.awaitAsOne
import app.cash.sqldelight.coroutines.asFlow
import app.cash.sqldelight.coroutines.mapToList
import app.notes.blocking.NotesDatabase
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import kotlin.time.Duration.Companion.milliseconds

// A blocked thread does not obey the watchdog of a story.
@Timeout(60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class BlockingNotesTest {
    private suspend fun RejoinClient.notes(): NotesDatabase {
        createOrMigrate(NotesDatabase.Schema)
        return NotesDatabase(RejoinBlockingSqlDriver(this))
    }

    private fun NotesDatabase.titles() = taskQueries.all().executeAsList().map { it.title }

    @Test
    fun `one transaction is one mutation`() =
        story {
            val client = offline()
            val notes = client.notes()
            notes.transaction {
                notes.taskQueries.add("t1", "one")
                notes.taskQueries.addPair("t2", "two", "t3")
                assertEquals(listOf("one", "two", "two"), notes.titles())
            }
            assertEquals(listOf(3), client.queue.all().map { it.rows.size })
            assertEquals("four", notes.taskQueries.addReturning("t4", "four").executeAsOne())
            val shown = notes.taskQueries.all().asFlow().mapToList(Dispatchers.Default).first { it.size == 4 }
            assertEquals(notes.titles(), shown.map { it.title })
        }

    @Test
    fun `more waiting threads than any pool has make progress`() =
        story {
            val client = offline()
            val notes = client.notes()
            notes.taskQueries.add("t1", "0")
            val increment = { notes.transaction { notes.taskQueries.rename("${notes.titles().single().toInt() + 1}", null, "t1") } }
            val pool = Executors.newFixedThreadPool(100)
            val threads = List(200) { pool.submit(Callable(increment)) }
            val coroutines = List(200) { async(if (it % 2 == 0) Dispatchers.IO else Dispatchers.Default) { increment() } }
            coroutines.awaitAll()
            threads.forEach { it.get() }
            pool.shutdown()
            assertEquals(listOf("400"), notes.titles())
        }

    @Test
    fun `both drivers share a file`() =
        story {
            val client = offline()
            val (blocking, suspending) = client.notes() to app.notes.NotesDatabase(RejoinSqlDriver(client))
            blocking.taskQueries.add("t1", "0")
            val writers =
                List(100) { number ->
                    async(Dispatchers.IO) {
                        if (number % 2 == 0) {
                            blocking.transaction { blocking.taskQueries.rename("${blocking.titles().single().toInt() + 1}", null, "t1") }
                        } else {
                            val tasks = suspending.taskQueries
                            suspending.transaction { tasks.rename("${tasks.all().awaitAsOne().title.toInt() + 1}", null, "t1") }
                        }
                    }
                }
            writers.awaitAll()
            assertEquals(listOf("100"), blocking.titles())
        }

    @Test
    fun `call on Android's main thread is rejected`() =
        story {
            val notes = offline().notes()
            Looper.main = Looper(Thread.currentThread())
            try {
                for (call in listOf<() -> Any?>({ notes.titles() }, { notes.taskQueries.add("t1", "x") }, { notes.transaction { } })) {
                    refusedNaming("main thread", "Dispatchers.IO", "RejoinSqlDriver") { call() }
                }
                Executors.newSingleThreadExecutor().run {
                    submit { notes.taskQueries.add("t1", "elsewhere") }.get()
                    shutdown()
                }
            } finally {
                Looper.main = null
            }
            assertEquals(listOf("elsewhere"), notes.titles())
        }

    @Test
    fun `database of the other kind is rejected`() =
        story {
            val client = offline()
            val blocking = client.notes()
            refusedNaming("generateAsync", "RejoinSqlDriver") { app.notes.NotesDatabase(RejoinBlockingSqlDriver(client)).transaction { } }
            // SQLDelight's own message.
            val wrong = NotesDatabase(RejoinSqlDriver(client))
            assertEquals(true, "generateAsync" in refused<IllegalStateException> { wrong.taskQueries.all().executeAsList() }.message!!)
            assertEquals(emptyList<String>(), blocking.titles())
        }

    @Test
    fun `call inside the client's own transaction ends by its idle time`() =
        story {
            val client = offline { copy(transactionIdle = 200.milliseconds) }
            val notes = client.notes()
            refused<RejoinException.TransactionTimeout> {
                client.transaction { tx ->
                    tx.execute("INSERT INTO task (id, title) VALUES ('t1', 'outer')")
                    notes.taskQueries.add("t2", "inner")
                }
            }
            assertEquals(listOf("inner"), notes.titles())
        }
}
