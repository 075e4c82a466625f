/*
 * An app's code that takes a RejoinDatabase runs on the client and on a fake that is written by hand.
 */
package dev.rejoin

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.onStart
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.JsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class FakeDatabaseTest {
    @Serializable
    private data class Title(val id: String, val title: String)

    @Serializable
    private data class Rename(val id: String, val title: String)

    /** The app's code under test. */
    private class Tasks(private val database: RejoinDatabase) {
        val titles: Flow<List<Title>> = database.watch("SELECT id, title FROM task ORDER BY id").map { it.decode<Title>() }

        suspend fun add(vararg tasks: Title): Boolean =
            try {
                database.transaction { tx ->
                    for (task in tasks) tx.savepoint { it.execute("INSERT INTO task(id, title) VALUES (?, ?)", task.id, task.title) }
                    tx.query("SELECT count(*) FROM task") { it.long(0) }.single() > 0
                }
            } catch (_: RejoinException.Constraint) {
                false
            }

        suspend fun rename(id: String, title: String): String = database.perform("rename", Rename(id, title)).decode()

        suspend fun title(id: String): String = database.query("SELECT title FROM task WHERE id = ?", id) { it.string("title") }.single()

        fun isOffline(): Boolean = database.status.value.state is SyncState.Offline
    }

    /** Tasks in a map; every query returns all of them. */
    private class FakeDatabase : RejoinDatabase {
        private val tasks = sortedMapOf<String, String>()
        private val commits = MutableSharedFlow<Unit>(extraBufferCapacity = 1)
        override val status = MutableStateFlow(SyncStatus(SyncState.Offline(null, "in a test"), FirstSync.DONE))

        private fun rows() = RowBuffer.of(listOf("id", "title"), *tasks.map { (id, title) -> listOf(id, title) }.toTypedArray())

        override suspend fun query(sql: String, vararg params: Any?): RowBuffer = rows()

        override suspend fun queryMany(vararg statements: Statement): List<RowBuffer> = statements.map { rows() }

        override suspend fun execute(sql: String, vararg params: Any?): Long {
            val (id, title) = params.map { it as String }
            if (tasks.putIfAbsent(id, title) != null) throw RejoinException.Constraint("id is taken", "task", "id", "UNIQUE")
            commits.tryEmit(Unit)
            return 1
        }

        override suspend fun executeReturning(sql: String, vararg params: Any?): RowBuffer = rows()

        override suspend fun executeScript(sql: String) = Unit

        override suspend fun batch(statements: List<Statement>): List<Long> = statements.map { execute(it) }

        override suspend fun <T> transaction(body: suspend (Transaction) -> T): T = body(FakeTransaction(this))

        override suspend fun <T> read(body: suspend (Snapshot) -> T): T = throw UnsupportedOperationException()

        override suspend fun perform(name: String, arguments: Map<String, Any?>): Performed {
            val (id, title) = listOf("id", "title").map { (arguments.getValue(it) as JsonPrimitive).content }
            tasks[id] = title
            return Performed("m1", JsonPrimitive(title))
        }

        override fun watch(sql: String, vararg params: Any?): Flow<RowBuffer> = commits.onStart { emit(Unit) }.map { rows() }

        override fun watchDifferences(sql: String, vararg params: Any?, key: List<String>): Flow<WatchUpdate> = throw UnsupportedOperationException()

        override fun changes(vararg tables: String): Flow<Change> = throw UnsupportedOperationException()
    }

    private class FakeTransaction(private val database: FakeDatabase) : Transaction {
        override suspend fun execute(sql: String, vararg params: Any?): Long = database.execute(sql, *params)

        override suspend fun query(sql: String, vararg params: Any?): RowBuffer = RowBuffer.of(listOf("count(*)"), listOf(1))

        override suspend fun batch(statements: List<Statement>): List<Long> = database.batch(statements)

        override suspend fun <T> savepoint(body: suspend (Transaction) -> T): T = body(this)
    }

    private suspend fun used(database: RejoinDatabase) {
        val tasks = Tasks(database)
        assertTrue(tasks.add(Title("a", "one")))
        assertTrue(!tasks.add(Title("a", "again")))
        assertEquals("one", tasks.title("a"))
        assertEquals("two", tasks.rename("a", "two"))
        assertTrue(tasks.add(Title("b", "three")))
        assertEquals(listOf(Title("a", "two"), Title("b", "three")), tasks.titles.first())
    }

    @Test
    fun `code of an app runs on the client and on a fake`() =
        story {
            val rename =
                Actions {
                    handlerOf<Rename, String>("rename") { context, given ->
                        context.execute("UPDATE task SET title = ? WHERE id = ?", given.title, given.id)
                        given.title
                    }
                }
            used(offline(rename))
            val fake = FakeDatabase()
            used(fake)
            assertTrue(Tasks(fake).isOffline())
        }
}
