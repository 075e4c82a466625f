/*
 * Test support: a real server in its own process (tests/story-server), clients on temporary files, a lifecycle.
 */
package dev.rejoin.compose

import androidx.lifecycle.Lifecycle
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.LifecycleRegistry
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.StoryServer
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
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
    private val started = lazy { StoryServer() }
    private val server by started

    /** Runs a suspending part of the test under a watchdog. */
    fun <T> run(body: suspend () -> T): T = runBlocking(Dispatchers.Default) { withTimeout(60.seconds) { body() } }

    /** A device of one user that syncs only on request. */
    fun device(): RejoinClient =
        run {
            val config =
                RejoinConfig(file(), server = server.url, schema = server.schema, syncInterval = 1.hours, pushDebounce = Duration.ZERO)
            RejoinClient.open(config, { server.token("u1") }).also(clients::add)
        }

    /** A client without a server, with the local table `note`. */
    fun local(): RejoinClient =
        run {
            val client = RejoinClient.open(RejoinConfig(file())).also(clients::add)
            client.schema.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
            client
        }

    /** A device whose edit of the task `t1` conflicts with another device's, and the id of the edit. */
    fun conflict(
        mine: String,
        theirs: String,
        insert: String = "INSERT INTO task(id, title, rank, note) VALUES ('t1', 'Call the harbour', 1, 'Before noon')",
    ): Pair<RejoinClient, String> {
        val (phone, tablet) = device() to device()
        return run {
            phone.execute(insert)
            // Stopped, so that the phone pushes first.
            for (client in listOf(phone, tablet)) client.sync.run().also { client.stop() }
            phone.execute(theirs)
            tablet.execute(mine)
            for (client in listOf(phone, tablet)) client.sync.run().also { client.stop() }
            tablet to tablet.queue.all().single().id
        }
    }

    /** A device with a rejected create and an edit that depends on it, and their ids. */
    fun refusedChain(): Triple<RejoinClient, String, String> {
        val client = device()
        return run {
            client.execute("INSERT INTO task(id, title, rank) VALUES ('t1', 'refused', 1)")
            client.execute("UPDATE task SET rank = 2 WHERE id = 't1'")
            val (create, edit) = client.queue.all().map { it.id }
            client.sync.run()
            client.stop()
            Triple(client, create, edit)
        }
    }

    /** Writes to the server's database. */
    fun write(sql: String): Int = server.runs(sql)

    /** Rows of the server's database, each cell as text. */
    fun rows(sql: String): List<List<String?>> = server.rows(sql)

    private fun file(): String = folder.resolve("${number.incrementAndGet()}.db").toString()

    override fun close() {
        run { for (client in clients) client.shutdown() }
        if (started.isInitialized()) server.close()
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
