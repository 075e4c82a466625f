/*
 * The examples of docs/android.md that need no Android, compiled and run on the JVM; the last test compares the texts of
 * all examples, with rejoin-android and rejoin-compose.
 */
package dev.rejoin

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.SharingStarted
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.flowOf
import kotlinx.coroutines.flow.stateIn
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.nio.file.Files
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

class GuideTest {
    private fun interface Session {
        fun token(refresh: Boolean): String?
    }

    data class TaskItem(val id: String, val title: String, val state: String)

    class TaskList(database: RejoinDatabase, scope: CoroutineScope) {
        val items: StateFlow<List<TaskItem>> =
            database.watch("SELECT id, title, rejoin_row_state('tasks', id) AS state FROM tasks ORDER BY title") {
                TaskItem(it.string("id"), it.string("title"), it.string("state"))
            }.stateIn(scope, SharingStarted.WhileSubscribed(5_000), emptyList())
    }

    class FakeDatabase(private val rows: RowBuffer) : RejoinDatabase {
        override val status = MutableStateFlow(SyncStatus(SyncState.Offline(null, "in a test"), FirstSync.DONE))
        override fun watch(sql: String, vararg params: Any?): Flow<RowBuffer> = flowOf(rows)
        override fun watchDifferences(sql: String, vararg params: Any?, key: List<String>): Flow<WatchUpdate> = error("not faked")
        override fun changes(vararg tables: String): Flow<Change> = error("not faked")
        override suspend fun query(sql: String, vararg params: Any?): RowBuffer = rows
        override suspend fun queryMany(vararg statements: Statement): List<RowBuffer> = error("not faked")
        override suspend fun <T> read(body: suspend (Snapshot) -> T): T = error("not faked")
        override suspend fun execute(sql: String, vararg params: Any?): Long = 1
        override suspend fun executeReturning(sql: String, vararg params: Any?): RowBuffer = error("not faked")
        override suspend fun executeScript(sql: String) = error("not faked")
        override suspend fun batch(statements: List<Statement>): List<Long> = error("not faked")
        override suspend fun <T> transaction(body: suspend (Transaction) -> T): T = error("not faked")
        override suspend fun perform(name: String, arguments: Map<String, Any?>): Performed = error("not faked")
    }

    private fun StoryServer.stops() = order(buildJsonObject { put("do", "stop") })

    @Test
    fun `examples of start, background and shipping run`() =
        story {
            val server = server()
            val (url, schema) = server.url to server.schema
            val session = Session { server.token("u1") }
            val folder = Files.createTempDirectory("guide").toFile()
            val backup = folder.resolve("backup").also { it.mkdir() }
            val user = "u1"
            val viewModelScope = CoroutineScope(Dispatchers.Default)

            val config = RejoinConfig(File(folder, "user-$user.db").path, server = url, schema = schema)
            val client = RejoinClient.open(config, tokens = { refresh -> session.token(refresh) })
            client.start() // From now on it syncs in the background.
            client.adds("t1", "buy milk", "tasks")
            val titles: List<String> = client.query("SELECT title FROM tasks ORDER BY title") { it.string("title") }
            assertEquals(listOf("buy milk"), titles)

            val list = TaskList(client, viewModelScope)
            val shown = list.items.first { items -> items.any { it.title == "buy milk" } }
            assertEquals(1, shown.size)
            list.items.first { items -> items.all { it.state == "synced" } && items.isNotEmpty() } // The server accepted it.

            server.stops()
            client.adds("t2", "buy bread", "tasks")

            client.sync.suspend()
            for (part in listOf("", "-wal")) File(client.path + part).takeIf(File::exists)?.copyTo(File(backup, "app.db$part"))
            client.sync.resume()
            val restored = RejoinClient.open(RejoinConfig(File(backup, "app.db").path))
            assertEquals(listOf("buy milk", "buy bread"), restored.titles("tasks"))
            assertEquals(1L, restored.queue.counts().run { pending + uncertain })
            restored.shutdown()

            val questions = mutableListOf<String>()

            fun confirm(question: String) = questions.add(question)

            client.stop()
            val unsent = client.queue.all()
            if (unsent.isEmpty() || confirm("${unsent.size} changes were not sent. Delete them?")) {
                client.storage.clearForNextUser(discarding = unsent.map { it.id })
            }
            assertEquals(listOf("1 changes were not sent. Delete them?"), questions)
            assertEquals(emptyList<String>() to 0, client.titles("tasks") to client.queue.all().size)
            viewModelScope.cancel()
            client.shutdown()
            folder.deleteRecursively()
        }

    @Test
    fun `examples of a screen for conflicts run`() =
        story {
            val server = server()
            val (tablet, client) = server.run { device() to device() }
            for (id in listOf("t1", "t2", "t3")) tablet.adds(id, "first", "tasks")
            for (device in listOf(tablet, client)) device.sync.run().also { device.stop() }
            tablet.execute("UPDATE tasks SET title = 'theirs', position = 5")
            client.execute("UPDATE tasks SET title = 'mine' WHERE id = 't1'")
            client.execute("UPDATE tasks SET title = 'mine too' WHERE id = 't2'")
            client.execute("UPDATE tasks SET title = ? WHERE id = 't3'", tooLong) // In conflict first, then rejected.
            client.adds("t4", tooLong, "tasks")
            client.execute("UPDATE tasks SET position = 7 WHERE id = 't4'") // Depends on it.
            for (device in listOf(tablet, client)) device.sync.run().also { device.stop() }
            val lines = mutableListOf<String>()

            fun show(line: String) = lines.add(line)

            for (parked in client.queue.parked()) {
                show("${parked.reason} ${parked.detail?.message.orEmpty()}")
                for (row in parked.detail?.rows.orEmpty()) {
                    for (column in row.columns) show("$column: mine ${row.mine?.get(column)}, theirs ${row.theirs?.get(column)}")
                }
            }
            assertEquals(setOf("CONFLICTED", "REJECTED", "DEPENDS"), lines.map { it.substringBefore(' ') }.filter { it.all(Char::isUpperCase) }.toSet())
            assertTrue("title: mine mine, theirs theirs" in lines, lines.toString())
            assertTrue(lines.single { it.startsWith("REJECTED") }.length > "REJECTED ".length, lines.toString())

            suspend fun keepMine(conflict: PendingMutation) = client.queue.retry(conflict.id)
            suspend fun takeTheirs(parked: PendingMutation) = client.queue.discard(parked.id)
            suspend fun change(parked: PendingMutation, id: String, title: String) {
                val edited = client.queue.edit(parked.id) { tx -> tx.execute("UPDATE tasks SET title = ? WHERE id = ?", title, id) } ?: return
                client.queue.retryChain(edited) // Those parked because of it.
            }

            val (first, second, third, fourth) = client.queue.all()
            keepMine(first)
            takeTheirs(second)
            keepMine(third) // The long title was in conflict; now the server rejects it.
            client.queue.retry(fourth.id) // The server rejects it again.
            client.sync.run()
            client.stop()
            val left = client.queue.all().filter { it.reason != ParkReason.DEPENDS }
            assertEquals(listOf(third.id, fourth.id) to listOf(ParkReason.REJECTED, ParkReason.REJECTED), left.map { it.id } to left.map { it.reason })
            assertEquals(listOf(2L, 2L), left.map { it.attempt })
            change(left[0], "t3", "changed")
            change(left[1], "t4", "corrected")
            while (client.queue.all().isNotEmpty()) {
                client.sync.run()
                delay(1.milliseconds)
            }
            val expected = listOf(listOf("mine", "5"), listOf("theirs", "5"), listOf("changed", "5"), listOf("corrected", "7"))
            assertEquals(expected, server.rows("SELECT title, position FROM tasks ORDER BY id"))
        }

    @Test
    fun `examples of an app's tests run`() =
        story {
            val (scope, schema) = CoroutineScope(Dispatchers.Default) to server().schema

            val fake = FakeDatabase(RowBuffer.of(listOf("id", "title", "state"), listOf("t1", "buy milk", "pending")))
            val items = TaskList(fake, scope).items.first { it.isNotEmpty() }
            assertEquals(listOf(TaskItem("t1", "buy milk", "pending")), items)

            val client = RejoinClient.open(RejoinConfig.temporary().copy(schema = schema))
            client.execute("INSERT INTO tasks(id, title) VALUES (rejoin_new_id(), ?)", "buy milk")
            assertEquals(1, client.queue.all().size)
            client.shutdown() // Removes the file.
            scope.cancel()
        }

    @Test
    fun `examples of the guide match this file and those of Android`() =
        assertExamplesMatch(
            page = "../../docs/android.md",
            "GuideTest.kt",
            "../../../../../../rejoin-android/src/test/kotlin/dev/rejoin/android/GuideTest.kt",
            "../../../../../../rejoin-compose/src/test/kotlin/dev/rejoin/compose/ReadmeTest.kt",
            atLeast = 10,
        )
}
