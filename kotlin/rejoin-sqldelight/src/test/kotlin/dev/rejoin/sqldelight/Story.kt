/*
 * Test support: clients and servers in a temporary folder, under a watchdog.
 */
package dev.rejoin.sqldelight

import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.RejoinException
import dev.rejoin.StoryServer
import dev.rejoin.TokenProvider
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertTrue
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

/** Runs a suspending test under a watchdog. */
fun story(body: suspend Story.() -> Unit) {
    val folder = Files.createTempDirectory("rejoin-sqldelight")
    try {
        runBlocking(Dispatchers.Default) {
            withTimeout(60.seconds) {
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

    /** A client on its own file without synced tables. */
    suspend fun local(): RejoinClient = RejoinClient.open(file()).also(opened::add)

    /** A client without a server, with the synced table `task`. */
    suspend fun offline(file: String = file(), change: RejoinConfig.() -> RejoinConfig = { this }): RejoinClient =
        RejoinClient.open(RejoinConfig(file, schema = TASKS).change()).also(opened::add)

    /** A server that is stopped at the end of the test. */
    fun server(withTokens: Boolean = true): StoryServer = StoryServer(withTokens).also(opened::add)

    /** A device of a user that syncs only on request. */
    suspend fun StoryServer.device(user: String = "u1"): RejoinClient {
        val config = RejoinConfig(file(), server = url, schema = schema, syncInterval = 1.hours, pushDebounce = Duration.ZERO)
        return RejoinClient.open(config, TokenProvider { token(user) }).also(opened::add)
    }

    suspend fun end() {
        // Clients first: devices would retry against a stopped server.
        for (client in opened.filterIsInstance<RejoinClient>()) runCatching { client.shutdown() }
        opened.filterNot { it is RejoinClient }.forEach { it.close() }
    }
}

/** The error that [call] throws. */
inline fun <reified E : Throwable> refused(call: () -> Any?): E {
    val thrown = runCatching { call() }.exceptionOrNull()
    assertTrue(thrown is E, "expected ${E::class.simpleName}, got $thrown")
    return thrown as E
}

/** Throws unless an [RejoinException.InvalidInput] names all [parts]. */
inline fun refusedNaming(vararg parts: String, call: () -> Any?) {
    val reason = refused<RejoinException.InvalidInput>(call).reason
    for (part in parts) assertTrue(part in reason, reason)
}

/** The manifest of a server with one table. */
const val TASKS: String =
    """{"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task", "push_policy": "owner_only",
        "updated_at_column": "updated_at", "deleted_at_column": "deleted_at", "primary_key": ["id"], "columns": [
          {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
          {"name": "title", "db_type": "text", "logical_type": "string"},
          {"name": "done", "db_type": "boolean", "logical_type": "boolean", "default_kind": "portable", "sqlite_default_sql": "0"},
          {"name": "rank", "db_type": "integer", "logical_type": "int64", "default_kind": "portable", "sqlite_default_sql": "0"},
          {"name": "note", "db_type": "text", "logical_type": "string"},
          {"name": "updated_at", "db_type": "text", "logical_type": "datetime"},
          {"name": "deleted_at", "db_type": "text", "logical_type": "datetime"}],
        "rejoin": {"rules": [{"kind": "unique", "columns": ["note"]}]}}]}"""
