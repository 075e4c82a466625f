/*
 * What stories are told with: a folder, devices in it, and a watchdog over everything that waits.
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

/** A test that waits: it may take so long and no longer. */
fun story(watchdog: Duration = 120.seconds, tell: suspend Story.() -> Unit) {
    val folder = Files.createTempDirectory("rejoin-story")
    try {
        runBlocking(Dispatchers.Default) {
            withTimeout(watchdog) {
                val story = Story(this, folder)
                try {
                    story.tell()
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

    /** A new file's name. */
    fun file(): String = folder.resolve("${number.incrementAndGet()}.db").toString()

    /** A client of a file of its own, without a server, and with a table to write to. */
    suspend fun local(config: RejoinConfig = RejoinConfig(file())): RejoinClient {
        val client = RejoinClient.open(config).also(opened::add)
        client.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
        return client
    }

    /** A client of a file of its own, without a server, and with the synced table `task` to write to. */
    suspend fun offline(
        actions: Actions? = null,
        file: String = file(),
        change: RejoinConfig.() -> RejoinConfig = { this },
    ): RejoinClient = RejoinClient.open(RejoinConfig(file, schemaJson = TASKS).change(), actions = actions).also(opened::add)

    /** A server that ends with the story. */
    fun server(withTokens: Boolean = true): StoryServer = StoryServer(withTokens).also(opened::add)

    /** A device of a user, which syncs when it is told to. */
    suspend fun StoryServer.device(
        user: String = "u1",
        file: String = file(),
        tokens: TokenProvider? = TokenProvider { token(user) },
        transport: HttpTransport? = null,
        actions: Actions? = null,
        change: RejoinConfig.() -> RejoinConfig = { this },
    ): RejoinClient = RejoinClient.open(config(file).change(), tokens, transport, actions).also(opened::add)

    /** How such a device is configured. */
    fun StoryServer.config(file: String): RejoinConfig =
        RejoinConfig(file, serverUrl = url, schemaJson = schema, syncInterval = 1.hours, pushDebounce = Duration.ZERO)

    private companion object {
        /** A manifest with one table, as an app bundles it. */
        const val TASKS =
            """{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task",
                "push_policy": "owner_only", "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"],
                "columns": [{"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
                  {"name": "title", "db_type": "text", "logical_type": "string"},
                  {"name": "rank", "db_type": "integer", "logical_type": "int64"}]}]}"""
    }

    suspend fun end() {
        // Servers first would make devices try again.
        for (client in opened.filterIsInstance<RejoinClient>()) runCatching { client.shutdown() }
        opened.filterNot { it is RejoinClient }.forEach { it.close() }
    }
}

/** Makes a task. */
suspend fun RejoinClient.adds(id: String, title: String): Long = execute("INSERT INTO task(id, title) VALUES (?, ?)", id, title)

/** The titles of all tasks, by their ids. */
suspend fun RejoinClient.titles(): List<String> = query("SELECT title FROM task ORDER BY id") { it.string(0) }

/** The bodies of all notes, by their ids. */
suspend fun RejoinClient.notes(): List<String> = query("SELECT body FROM note ORDER BY id") { it.string(0) }
