/*
 * Foreground and background: what is suspended when, and that no write is lost on the way.
 */
package dev.rejoin.android

import androidx.lifecycle.LifecycleRegistry
import androidx.lifecycle.ProcessLifecycleOwner
import dev.rejoin.JdkTransport
import dev.rejoin.RejoinException
import dev.rejoin.SyncState
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.launch
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import java.lang.ref.WeakReference
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration.Companion.seconds

@RunWith(RobolectricTestRunner::class)
class LifecycleTest {
    private suspend fun AndroidDatabase.adds(id: String) = execute("INSERT INTO task(id, title) VALUES (?, ?)", id, "title of $id")

    private fun AndroidStory.awaitState(database: AndroidDatabase, state: (SyncState) -> Boolean) =
        await({ "the state; it is ${database.status.value.state}" }) { state(database.status.value.state) }

    @Test
    fun `going to the background pushes once and suspends, coming back resumes`() =
        androidStory {
            val server = server()
            enters()
            val database = database(server) { config { it.copy(pushDebounce = 60.seconds, syncInterval = 60.seconds) } }
            awaitState(database) { it is SyncState.UpToDate }
            calls { database.adds("t1") }
            leaves()
            awaitState(database) { it is SyncState.Suspended }
            assertEquals(listOf(listOf("t1")), server.rows("SELECT id FROM task"))
            server.runs("UPDATE task SET title = 'from elsewhere'")
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            assertEquals(listOf("from elsewhere"), calls { database.query("SELECT title FROM task") { it.string(0) } })
        }

    @Test
    fun `a call in the background opens the file and closes it again`() =
        androidStory {
            val database = database(server())
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            leaves()
            awaitState(database) { it is SyncState.Suspended }
            calls { database.adds("t1") }
            awaitState(database) { it is SyncState.Suspended }
            assertEquals(listOf("t1"), calls { database.query("SELECT id FROM task") { it.string(0) } })
            awaitState(database) { it is SyncState.Suspended }
        }

    @Test
    fun `a call that ends during the last push does not cut it off`() =
        androidStory {
            val server = server()
            val isHeld = AtomicBoolean(false)
            val held =
                JdkTransport(lost = {
                    while (isHeld.get()) Thread.sleep(1)
                    false
                })
            val database =
                database(server) {
                    transport = held
                    lastPush = 20.seconds
                    config { it.copy(pushDebounce = 60.seconds, syncInterval = 60.seconds) }
                }
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            calls { database.adds("t1") }
            isHeld.set(true)
            leaves()
            await({ "the push" }) { server.rows("SELECT id FROM task").isNotEmpty() }
            calls { database.query("SELECT 1") }
            Thread.sleep(200) // The time in which the client would be suspended.
            assertNotEquals(SyncState.Suspended, database.status.value.state)
            isHeld.set(false)
            awaitState(database) { it is SyncState.Suspended }
            assertEquals(0L, calls { database.withClient { it.queue.counts() } }.let { it.pending + it.sent + it.uncertain })
        }

    @Test
    fun `a database that was shut down before does not hide its successor`() =
        androidStory {
            val server = server()
            val first = database(server)
            calls { first.shutdown() }
            val second = database(server)
            calls { first.shutdown() }
            assertSame(second, database(server))
        }

    @Test
    fun `a transaction under way when the app leaves is committed`() =
        androidStory {
            val database = database(server()) { lastPush = 0.seconds }
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            val step = MutableStateFlow(0)
            val writing = CoroutineScope(Dispatchers.Default)
            val write: Job =
                writing.launch {
                    database.transaction { tx ->
                        tx.execute("INSERT INTO task(id, title) VALUES ('t1', 'first')")
                        step.value = 1
                        while (step.value == 1) delay(1)
                        tx.execute("INSERT INTO task(id, title) VALUES ('t2', 'second')")
                    }
                }
            await({ "the first statement" }) { step.value == 1 }
            leaves()
            step.value = 2
            await({ "the commit" }) { write.isCompleted }
            awaitState(database) { it is SyncState.Suspended }
            assertEquals(2L, calls { database.query("SELECT count(*) FROM task").first().long(0) })
            writing.cancel()
        }

    @Test
    fun `fast changes between foreground and background lose no write`() =
        androidStory {
            val database = database(server())
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            val writing = CoroutineScope(Dispatchers.Default)
            val writers =
                List(2) { writer ->
                    writing.launch { repeat(100) { database.adds("$writer-$it") } }
                }
            while (writers.any { it.isActive }) {
                leaves()
                enters()
            }
            assertEquals(200L, calls { database.query("SELECT count(*) FROM task").first().long(0) })
            leaves()
            awaitState(database) { it is SyncState.Suspended }
            writing.cancel()
        }

    @Test
    fun `without following the lifecycle the file stays open`() =
        androidStory {
            val database = database(server()) { followLifecycle = false }
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            leaves()
            calls { database.adds("t1") }
            calls { database.withClient { it.sync.run() } }
            awaitState(database) { it is SyncState.UpToDate }
        }

    @Test
    fun `opening twice gives the same database, also after a shutdown`() =
        androidStory {
            val server = server()
            val database = database(server)
            assertSame(database, database(server))
            calls { database.adds("t1") }
            calls { database.shutdown() }
            assertThrows(RejoinException.Closed::class.java) { calls { database.adds("t2") } }
            val again = database(server)
            assertEquals(1L, calls { again.query("SELECT count(*) FROM task").first().long(0) })
        }

    @Test
    fun `a shut down database does not follow the lifecycle any more`() =
        androidStory {
            val observed = ProcessLifecycleOwner.get().lifecycle as LifecycleRegistry
            val before = observed.observerCount
            val database = database(server())
            await({ "the observer" }) { observed.observerCount == before + 1 }
            calls { database.shutdown() }
            await({ "the end of the observer" }) { observed.observerCount == before }
        }

    @Test
    fun `twenty rotations leave no activity behind`() =
        androidStory {
            val server = server()
            val created = mutableListOf<WeakReference<TodoActivity>>()
            var collecting: CoroutineScope? = null
            TodoActivity.onCreated = { activity ->
                created += WeakReference(activity)
                collecting?.cancel()
                val screen = CoroutineScope(Dispatchers.Default)
                collecting = screen
                val database = database(server)
                screen.launch { database.watch("SELECT id FROM task").collect { activity.shown = it.size } }
            }
            enters().let { shown -> repeat(20) { shown.recreate() } }
            val database = database(server)
            calls { database.adds("t1") }
            TodoActivity.onCreated = {}
            collecting?.cancel()
            leaves()
            assertEquals(21, created.size)
            await({ "collection of the activities" }) {
                System.gc()
                created.dropLast(1).all { it.get() == null }
            }
            assertNull(created.first().get())
        }
}
