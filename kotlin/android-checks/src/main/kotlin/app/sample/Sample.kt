/*
 * A small app on the JVM: opens a client, writes, performs actions, watches, handles an error and syncs. It prints one line
 * for each step. ShrinkTest runs it after R8, ConsumerTest compiles it with an older Kotlin.
 *
 * The part that needs a device is in SampleApp.kt.
 */
package app.sample

import dev.rejoin.Actions
import dev.rejoin.HttpRequest
import dev.rejoin.HttpResponse
import dev.rejoin.HttpTransport
import dev.rejoin.LogLevel
import dev.rejoin.Rejoin
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.RejoinException
import dev.rejoin.TokenProvider
import dev.rejoin.decode
import dev.rejoin.perform
import dev.rejoin.watch
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.Serializable
import java.io.File
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

@Serializable
public data class Task(val id: String, val title: String, val done: Boolean = false, val rank: Int = 0)

@Serializable
public data class Raise(val id: String, val by: Int = 1)

/** The arguments: the file of the database, the server's address, a token, the file of the schema. */
public fun main(arguments: Array<String>) {
    val (file, url, token, schema) = arguments
    val logged = AtomicInteger()
    Rejoin.setLogger(LogLevel.DEBUG) { if (it.text.isNotEmpty()) logged.incrementAndGet() }
    val config =
        RejoinConfig(
            file,
            server = url,
            deviceName = "sample",
            schema = File(schema).readText(),
            syncInterval = 1.hours,
            pushDebounce = Duration.ZERO,
        )
    runBlocking {
        val client = RejoinClient.open(config, TokenProvider { token }, actions = actions)
        write(client)
        perform(client)
        fail(client)
        sync(client)
        client.shutdown()
        withoutServer(config.copy(path = "$file.2"))
    }
    println("logged ${logged.get() > 0}")
}

private val actions =
    Actions {
        declare("""{"name": "finish", "parameters": [{"name": "id", "type": "text"}], "statements": ["UPDATE task SET done = 1 WHERE id = :id"]}""")
        handlerOf<Raise, Int>("raise") { context, raise ->
            val rank = context.query("SELECT rank FROM task WHERE id = ?", raise.id) { it.int(0) }.single()
            if (rank + raise.by > 10) context.refuse("ten is the highest")
            context.execute("UPDATE task SET rank = ? WHERE id = ?", rank + raise.by, raise.id)
            rank + raise.by
        }
    }

private suspend fun write(client: RejoinClient) {
    client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "buy milk")
    client.transaction { it.execute("INSERT INTO task(id, title, rank) VALUES (?, ?, ?)", "t2", "buy bread", 2) }
    val tasks: List<Task> = client.query("SELECT id, title, done, rank FROM task ORDER BY id").decode()
    println(tasks)
}

private suspend fun perform(client: RejoinClient) {
    println("raised to ${client.perform("raise", Raise("t2", by = 3)).decode<Int>()}")
    client.perform("finish", "id" to "t1")
    val open = client.watch<Task>("SELECT id, title, done, rank FROM task WHERE NOT done").first()
    println("open: ${open.map { it.title }}")
}

private suspend fun fail(client: RejoinClient) {
    try {
        client.execute("INSERT INTO task(id, title) VALUES ('t1', 'again')")
    } catch (error: RejoinException.Constraint) {
        println("${error.code}: ${error.table}.${error.column} ${error.rule}")
    }
    try {
        client.perform("raise", Raise("t2", by = 30))
    } catch (error: RejoinException.Action) {
        println("${error.code}: ${error.fault} ${error.detail}")
    }
}

private suspend fun sync(client: RejoinClient) {
    val report = client.sync.run(30.seconds)
    println("accepted ${report.accepted}, parked ${report.parked}, pending ${report.stillPending}")
}

/** The app's own HTTP client, which has no network. */
private object NoNetwork : HttpTransport {
    override suspend fun send(request: HttpRequest): HttpResponse = throw RejoinException.Offline("no network")
}

private suspend fun withoutServer(config: RejoinConfig) {
    val client = RejoinClient.open(config, TokenProvider { null }, NoNetwork)
    client.execute("INSERT INTO task(id, title) VALUES ('t3', 'later')")
    try {
        client.sync.run(1.seconds)
    } catch (error: RejoinException) {
        println("${error.code}, ${client.queue.all().size} pending")
    }
    client.shutdown()
}
