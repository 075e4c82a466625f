/*
 * Test support: one interface over the fake server and the real one, and a watchdog.
 *
 * The real server is the process rejoin-story-server, controlled by lines of JSON (tests/story-server/src/main.rs). Both
 * have its tables: `task`, which rejects the title `refused`, its child `tag`, and `sample`.
 */
package dev.rejoin.test

import dev.rejoin.Actions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.StoryServer
import dev.rejoin.SyncReport
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import org.junit.jupiter.api.Assertions.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

/** A server as a scenario needs it. */
interface TestServer : AutoCloseable {
    /** A client of the user that syncs only on request. */
    suspend fun device(user: String = "ana", actions: Actions? = null): RejoinClient

    /** The live rows of a table by id, each column as text; booleans as 0 and 1. */
    fun rows(table: String, vararg columns: String): List<List<String?>>

    /** Changes the title of a task as another device; creates it for `ana` if it does not exist. */
    fun changesTask(id: String, title: String)

    /** Deletes a task as another device. */
    fun deletesTask(id: String)

    fun reachable(isReachable: Boolean)
}

class FakeTestServer : TestServer {
    private val server = FakeServer(storySchema).apply { reject("task", "the title is refused") { it.string("title") == "refused" } }

    override suspend fun device(user: String, actions: Actions?): RejoinClient = server.client(user, actions) { copy(syncInterval = 1.hours) }

    override fun rows(table: String, vararg columns: String): List<List<String?>> =
        server.rows(table).map { row -> columns.map { row[it]?.toString() } }

    override fun changesTask(id: String, title: String) = server.changeRow("task", id, "title" to title, "user_id" to "ana")

    override fun deletesTask(id: String) = server.deleteRow("task", id)

    override fun reachable(isReachable: Boolean) {
        server.offline = !isReachable
    }

    override fun close() = Unit
}

class RealTestServer : TestServer {
    private val server = StoryServer()

    override suspend fun device(user: String, actions: Actions?): RejoinClient {
        val config = RejoinConfig.temporary().copy(server = server.url, schema = server.schema, syncInterval = 1.hours, pushDebounce = Duration.ZERO)
        return RejoinClient.open(config, { server.token(user) }, actions = actions)
    }

    override fun rows(table: String, vararg columns: String): List<List<String?>> =
        server.rows("SELECT ${columns.joinToString()} FROM $table WHERE deleted_at IS NULL ORDER BY id")

    override fun changesTask(id: String, title: String) {
        server.runs("INSERT INTO task(id, user_id, title) VALUES ('$id', 'ana', '$title') ON CONFLICT DO UPDATE SET title = '$title'")
    }

    override fun deletesTask(id: String) {
        server.runs("UPDATE task SET deleted_at = '2026-01-01T00:00:00.000000Z' WHERE id = '$id'")
    }

    override fun reachable(isReachable: Boolean) {
        server.order(JsonObject(mapOf("do" to JsonPrimitive(if (isReachable) "go" else "stop"))))
    }

    override fun close(): Unit = server.close()
}

/** The manifest of the story server. */
val storySchema: String by lazy { StoryServer().use { it.schema } }

/** Runs a suspending test under a watchdog. */
fun test(body: suspend CoroutineScope.() -> Unit): Unit = runBlocking(Dispatchers.Default) { withTimeout(60.seconds, body) }

/** Pushes and pulls once, and then no more until the next call. */
suspend fun RejoinClient.syncs(): SyncReport = sync.run(20.seconds).also { stop() }

suspend fun RejoinClient.adds(id: String, title: String): Long = execute("INSERT INTO task(id, title) VALUES (?, ?)", id, title)

suspend fun RejoinClient.titles(): List<String> = query("SELECT title FROM task ORDER BY id") { it.string(0) }

suspend inline fun <reified E : Throwable> refused(body: suspend () -> Unit): E {
    val thrown = runCatching { body() }.exceptionOrNull()
    assertTrue(thrown is E, "expected ${E::class.simpleName}, got $thrown")
    return thrown as E
}
