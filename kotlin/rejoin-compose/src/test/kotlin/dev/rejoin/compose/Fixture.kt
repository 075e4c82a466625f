/*
 * Test support: a real server in its own process (tests/story-server), clients on temporary files, a lifecycle.
 */
package dev.rejoin.compose

import androidx.lifecycle.Lifecycle
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.LifecycleRegistry
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put
import java.nio.file.Files
import java.util.concurrent.atomic.AtomicInteger
import javax.swing.SwingUtilities
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

/** The server and the clients of a test. */
class Fixture : AutoCloseable {
    private val folder = Files.createTempDirectory("rejoin-compose")
    private val number = AtomicInteger()
    private val clients = mutableListOf<RejoinClient>()
    private val started = lazy {
        val program = System.getenv("REJOIN_STORY_SERVER") ?: error("set REJOIN_STORY_SERVER to the program rejoin-story-server")
        ProcessBuilder(program, "--tokens").redirectError(ProcessBuilder.Redirect.INHERIT).start()
    }
    private val process by started
    private val answers by lazy { process.inputReader() }
    private val orders by lazy { process.outputWriter() }
    private val url by lazy { answer().getValue("url").jsonPrimitive.content }

    /** Runs a suspending part of the test under a watchdog. */
    fun <T> run(body: suspend () -> T): T = runBlocking(Dispatchers.Default) { withTimeout(60.seconds) { body() } }

    /** A device of one user that syncs only on request. */
    fun device(): RejoinClient =
        run {
            val url = url
            val config = RejoinConfig(file(), serverUrl = url, schemaJson = schema, syncInterval = 1.hours, pushDebounce = Duration.ZERO)
            RejoinClient.open(config, { token() }).also(clients::add)
        }

    /** A client without a server, with the local table `note`. */
    fun local(): RejoinClient =
        run {
            val client = RejoinClient.open(RejoinConfig(file())).also(clients::add)
            client.schema.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
            client
        }

    /** A device whose edit of the task `t1` conflicts with another device's, and the id of the edit. */
    fun conflict(mine: String, theirs: String): Pair<RejoinClient, String> {
        val (phone, tablet) = device() to device()
        return run {
            phone.execute("INSERT INTO task(id, title, rank, note) VALUES ('t1', 'Call the harbour', 1, 'Before noon')")
            // Stopped, so that the phone pushes first.
            for (client in listOf(phone, tablet)) client.sync.andWait().also { client.stop() }
            phone.execute(theirs)
            tablet.execute(mine)
            for (client in listOf(phone, tablet)) client.sync.andWait().also { client.stop() }
            tablet to tablet.queue.pending().single().id
        }
    }

    /** A device with a rejected create and an edit that depends on it, and their ids. */
    fun refusedChain(): Triple<RejoinClient, String, String> {
        val client = device()
        return run {
            client.execute("INSERT INTO task(id, title, rank) VALUES ('t1', 'refused', 1)")
            client.execute("UPDATE task SET rank = 2 WHERE id = 't1'")
            val (create, edit) = client.queue.pending().map { it.id }
            client.sync.andWait()
            client.stop()
            Triple(client, create, edit)
        }
    }

    /** Rows of the server's database, each cell as text. */
    fun rows(sql: String): List<List<String?>> =
        order("rows", sql).getValue("rows").jsonArray.map { row -> row.jsonArray.map { it.jsonPrimitive.contentOrNull } }

    private fun token(): String = order("token").getValue("token").jsonPrimitive.content

    private val schema by lazy { order("schema").getValue("schema").toString() }

    private fun file(): String = folder.resolve("${number.incrementAndGet()}.db").toString()

    private fun order(name: String, sql: String? = null): JsonObject =
        synchronized(this) {
            val line: JsonElement =
                buildJsonObject {
                    put("do", name)
                    if (sql != null) put("sql", sql)
                    if (name == "token") put("user", "u1").also { put("seconds", 3600) }
                }
            orders.write("$line\n")
            orders.flush()
            val answer = answer()
            answer["error"]?.let { error("$line: ${(it as JsonPrimitive).content}") }
            answer
        }

    private fun answer(): JsonObject = Json.parseToJsonElement(answers.readLine() ?: error("the story server has ended")).jsonObject

    /** The server's process exits when its input is closed. */
    override fun close() {
        run { for (client in clients) client.shutdown() }
        if (started.isInitialized()) {
            orders.close()
            process.waitFor()
        }
        folder.toFile().deleteRecursively()
    }
}

/** A lifecycle that the test moves, on the main thread as Android does. */
class TestLifecycle(state: Lifecycle.State = Lifecycle.State.RESUMED) : LifecycleOwner {
    private val registry = LifecycleRegistry.createUnsafe(this)
    override val lifecycle: Lifecycle get() = registry

    fun moveTo(state: Lifecycle.State): Unit = SwingUtilities.invokeAndWait { registry.currentState = state }

    init {
        registry.currentState = state
    }
}
