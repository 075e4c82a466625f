/*
 * Test support: a folder with clients and servers, and a watchdog.
 */
package dev.rejoin

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

/** Runs a suspending test under a watchdog. */
fun story(watchdog: Duration = 120.seconds, body: suspend Story.() -> Unit) {
    val folder = Files.createTempDirectory("rejoin-story")
    try {
        runBlocking(Dispatchers.Default) {
            withTimeout(watchdog) {
                val story = Story(this, folder)
                try {
                    story.body()
                } finally {
                    story.end()
                }
            }
        }
    } finally {
        folder.toFile().deleteRecursively()
    }
}

class Story(scope: CoroutineScope, private val folder: Path) : CoroutineScope by scope {
    private val opened = mutableListOf<AutoCloseable>()
    private val number = AtomicInteger()

    /** The path of a new file. */
    fun file(): String = folder.resolve("${number.incrementAndGet()}.db").toString()

    /** A client on its own file, without a server, with a local-only table. */
    suspend fun local(config: RejoinConfig = RejoinConfig(file())): RejoinClient {
        val client = RejoinClient.open(config).also(opened::add)
        client.schema.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
        return client
    }

    /** A client on its own file, without a server, with the synced table `task`. */
    suspend fun offline(
        actions: Actions? = null,
        file: String = file(),
        change: RejoinConfig.() -> RejoinConfig = { this },
    ): RejoinClient = RejoinClient.open(RejoinConfig(file, schema = TASKS).change(), actions = actions).also(opened::add)

    /** A server that is stopped at the end of the test. */
    fun server(withTokens: Boolean = true): StoryServer = StoryServer(withTokens).also(opened::add)

    /** A user's device that syncs only on request. */
    suspend fun StoryServer.device(
        user: String = "u1",
        file: String = file(),
        tokens: TokenProvider? = TokenProvider { token(user) },
        transport: HttpTransport? = null,
        actions: Actions? = null,
        change: RejoinConfig.() -> RejoinConfig = { this },
    ): RejoinClient = RejoinClient.open(config(file).change(), tokens, transport, actions).also(opened::add)

    /** The configuration of such a device. */
    fun StoryServer.config(file: String): RejoinConfig =
        RejoinConfig(file, server = url, schema = schema, syncInterval = 1.hours, pushDebounce = Duration.ZERO)

    private companion object {
        /** A manifest with one table, as bundled with an app. */
        const val TASKS =
            """{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
                "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
                "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
                  {"name": "title", "db_type": "text", "logical_type": "string"},
                  {"name": "rank", "db_type": "integer", "logical_type": "int64"}]}]}"""
    }

    suspend fun end() {
        // Clients first: devices would retry against a stopped server.
        for (client in opened.filterIsInstance<RejoinClient>()) runCatching { client.shutdown() }
        opened.filterNot { it is RejoinClient }.forEach { it.close() }
    }
}

/** Inserts a task. The guides use the table `tasks`. */
suspend fun RejoinClient.adds(id: String, title: String, table: String = "task"): Long = execute("INSERT INTO $table(id, title) VALUES (?, ?)", id, title)

/** The titles of all tasks, by their ids. */
suspend fun RejoinClient.titles(table: String = "task"): List<String> = query("SELECT title FROM $table ORDER BY id") { it.string(0) }

/** A title that every device accepts and the server rejects in the table `tasks`. */
val tooLong: String = "x".repeat(201)

/** The bodies of all notes, by their ids. */
suspend fun RejoinClient.notes(): List<String> = query("SELECT body FROM note ORDER BY id") { it.string(0) }
