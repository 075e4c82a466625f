/*
 * The README examples, compiled and run; the last test compares the texts.
 */
package dev.rejoin

import app.schema.PlacesRow
import app.schema.takePart
import kotlinx.coroutines.CoroutineExceptionHandler
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

class ReadmeTest {
    @Serializable
    data class Task(val id: String, val title: String, val done: Boolean = false)

    @Serializable
    data class Move(val id: String, val by: Int = 1)

    private fun interface Session {
        fun token(refresh: Boolean): String?
    }

    @Test
    fun `README first example runs`() =
        story {
            val server = server(withTokens = false)
            val (file, url, schema) = Triple(file(), server.url, server.schema)
            // Setup: one mutation is parked.
            val before = RejoinClient.open(RejoinConfig(file, server = url, userId = "ana", schema = schema))
            before.adds("t1", tooLong, "tasks")
            before.sync.run()
            before.shutdown()
            val scope = CoroutineScope(Dispatchers.Default)
            val titles = MutableStateFlow<List<String>>(emptyList())
            val printed = mutableListOf<String>()

            fun show(tasks: RowBuffer) = titles.update { tasks.map { it.string("title") } }

            fun println(line: String) = printed.add(line)

            val config = RejoinConfig(file, server = url, userId = "ana", schema = schema)
            val client = RejoinClient.open(config)
            client.start() // Syncs in the background from now on; being offline is a status, not an exception.
            client.execute("INSERT INTO tasks(id, title) VALUES (rejoin_new_id(), ?)", "buy milk")
            scope.launch {
                client.watch("SELECT id, title FROM tasks ORDER BY position").collect { tasks -> show(tasks) }
            }
            for (mutation in client.queue.parked()) {
                println("${mutation.id} is parked: ${mutation.reason}")
            }

            assertEquals(listOf("buy milk"), titles.first { it.isNotEmpty() })
            val parked = client.queue.all().first { it.state == MutationState.PARKED }
            assertEquals(listOf("${parked.id} is parked: REJECTED"), printed)
            scope.cancel()
            client.shutdown()
        }

    @Test
    fun `README examples run`() =
        story {
            val server = server()
            val (file, url, schema) = Triple(file(), server.url, server.schema)
            val session = Session { server.token("u1") }
            val more = listOf("call Ben", "read the guide")
            val config = RejoinConfig(file, server = url, schema = schema)

            val client = RejoinClient.open(config, tokens = { refresh -> session.token(refresh) })

            client.start()

            client.execute("INSERT INTO tasks(id, title) VALUES (?, ?)", "t1", "buy milk")

            client.transaction { tx ->
                val position = tx.query("SELECT ifnull(max(position), 0) + 1 FROM tasks").first().long(0)
                tx.execute("INSERT INTO tasks(id, title, position) VALUES (?, ?, ?)", "t2", "buy bread", position)
                tx.execute("INSERT INTO tasks(id, title, position) VALUES (?, ?, ?)", "t3", "buy eggs", position + 1)
            }
            client.batch(more.map { title -> Statement("INSERT INTO tasks(id, title, position) VALUES (rejoin_new_id(), ?, 9)", title) })

            val titles: List<String> = client.query("SELECT title FROM tasks WHERE done = ?", false) { it.string("title") }
            val tasks: List<Task> = client.query("SELECT id, title, done FROM tasks ORDER BY position").decode()
            assertEquals(listOf("buy milk", "buy bread", "buy eggs").plus(more).toSet(), titles.toSet())
            assertEquals(listOf(Task("t1", "buy milk"), Task("t2", "buy bread"), Task("t3", "buy eggs")), tasks.take(3))

            val open: Flow<List<Task>> = client.watch<Task>("SELECT id, title, done FROM tasks WHERE done = ?", false)
            val shown = open.first { tasks -> tasks.any { it.title == "buy milk" } }
            assertEquals(5, shown.size)

            val bread: Flow<Task?> = client.watchOne<Task>("SELECT id, title, done FROM tasks WHERE id = ?", "t2")
            val results: Flow<Result<RowBuffer>> = client.watchResults("SELECT id, title FROM tasks")
            assertEquals("buy bread", bread.first()?.title)
            assertEquals(5, results.first().getOrThrow().size)

            val report = client.sync.run(30.seconds)
            val waiting = client.queue.all()
            val upToDate = client.status.first { it.state is SyncState.UpToDate }
            assertEquals(0, report.stillPending)
            assertEquals(0, waiting.size)
            assertEquals(FirstSync.DONE, upToDate.firstSync)

            try {
                client.execute("INSERT INTO tasks(id, title) VALUES (?, ?)", "t1", "a second of its name")
            } catch (broken: RejoinException.Constraint) {
                println("${broken.column} is taken: ${broken.rule}")
            }
            assertEquals(5, client.query("SELECT count(*) FROM tasks")[0].int(0))
            client.shutdown()
        }

    @Test
    fun `README examples of generated types run`() =
        story {
            val client = offline(Actions { declare(generatedFrom("take_part.json")) }) { copy(schema = generatedFrom("schema.json")) }

            val quay = PlacesRow(id = "p1", name = "Quay", in_ = true, height = 1.5, visits = 0)
            client.execute(quay.insert())
            client.execute(quay.copy(name = "Pier").update())
            client.takePart("p1", quantity = 2)
            val places: List<PlacesRow> = client.query("SELECT * FROM places").decode()
            client.execute(PlacesRow.delete("p1"))
            assertEquals(listOf(quay.copy(name = "Pier", visits = 2)), places)
            assertEquals(0, client.query("SELECT count(*) FROM places")[0].int(0))
        }

    @Test
    fun `README example of rows for a fake runs`() {
        val rows = RowBuffer.of(listOf("id", "title", "done"), listOf("t1", "buy milk", false), listOf("t2", "buy bread", true))
        assertEquals(listOf(Task("t1", "buy milk"), Task("t2", "buy bread", done = true)), rows.decode<Task>())
    }

    @Test
    fun `README examples of actions and decisions run`() =
        story {
            val server = server()
            val (config, tokens) = server.run { config(file()) } to TokenProvider { server.token("u1") }
            val actions =
                Actions {
                    declare(
                        """
                        {"name": "finish", "parameters": [{"name": "id", "type": "text"}],
                         "preconditions": [{"sql": "SELECT NOT done FROM tasks WHERE id = :id", "message": "it is done already"}],
                         "statements": ["UPDATE tasks SET done = TRUE WHERE id = :id"]}
                        """,
                    )
                    handlerOf<Move, Int>("move") { context, move ->
                        val position = context.query("SELECT position FROM tasks WHERE id = ?", move.id) { it.int(0) }.single()
                        if (position + move.by > 10) context.refuse("ten is the highest")
                        context.execute("UPDATE tasks SET position = ? WHERE id = ?", position + move.by, move.id)
                        position + move.by
                    }
                }
            val client = RejoinClient.open(config, tokens, actions = actions)
            client.adds("t1", "buy milk", "tasks")

            val moved = client.perform("move", Move("t1", by = 3))
            println("It has position ${moved.decode<Int>()} now.")
            client.perform("finish", "id" to "t1")
            try {
                client.perform("move", "id" to "t1", "by" to 50)
            } catch (why: RejoinException.Action) {
                if (why.fault == ActionFault.REFUSED) println(why.detail)
            }
            assertEquals(listOf(3 to true), client.query("SELECT position, done FROM tasks") { it.int(0) to it.boolean(1) })

            client.adds("t2", tooLong, "tasks")
            val failures = CopyOnWriteArrayList<Throwable>()
            val scope = CoroutineScope(Dispatchers.Default + CoroutineExceptionHandler { _, failure -> failures += failure })
            scope.launch {
                client.queue.watchVerdicts().collect { news ->
                    for (parked in client.queue.parked()) { // A reported mutation may have been decided before a restart.
                        when (parked.reason) {
                            ParkReason.CONFLICTED -> client.queue.retry(parked.id) // Keep the local edit.
                            ParkReason.DEPENDS -> Unit // Resolved with the mutation in becauseOf.
                            else -> {
                                val edited = client.queue.edit(parked.id) { tx -> tx.execute("UPDATE tasks SET title = substr(title, 1, 200)") }
                                edited?.let { client.queue.retryChain(it) } // Those parked because of it.
                            }
                        }
                    }
                    client.queue.acknowledgeVerdicts(news.entries.last().number)
                }
            }
            client.sync.run()
            client.watch("SELECT title FROM tasks") { it.string(0) }.first { tooLong.drop(1) in it }
            while (client.sync.run().run { stillPending > 0 } || client.queue.all().isNotEmpty()) delay(1.milliseconds)
            assertEquals(listOf(listOf("buy milk", "3"), listOf(tooLong.drop(1), "0")), server.rows("SELECT title, position FROM tasks ORDER BY id"))
            scope.cancel()
            assertEquals(emptyList<Throwable>(), failures)

            client.adds("t3", tooLong, "tasks")
            client.sync.run()
            for (mutation in client.queue.parked()) client.queue.discardChain(mutation.id)
            assertEquals(0, client.queue.all().size)

            client.stop() // Otherwise a sync would restore the rows deleted below.
            val last = client.queue.history(1).first()
            try {
                client.queue.undo(last.id)
            } catch (changed: RejoinException.Changed) {
                for (row in changed.rows) println("${row.table} ${row.key}: ${row.columns} changed since")
            }
            assertEquals(listOf("buy milk"), client.titles("tasks"))

            val unsent = client.queue.all().map { it.id }
            val gone = client.storage.clearForNextUser(discarding = unsent)
            println("${gone.givenUp.size} given up")
            assertEquals(emptyList<String>(), client.titles("tasks"))
            client.shutdown()
        }

    @Test
    fun `README examples match this file`() = assertExamplesMatch(page = "../README.md", "ReadmeTest.kt", atLeast = 15)
}

/**
 * Every Kotlin block of a [page] is a part of the source of a [test]; both compared without indentation and empty lines.
 *
 * The imports of a block are those of the tests, or of their own packages.
 */
fun assertExamplesMatch(page: String, vararg tests: String, atLeast: Int) {
    val module = File(System.getProperty("rejoin.module"))
    val code = tests.joinToString("\n") { module.resolve("src/test/kotlin/dev/rejoin/$it").readText().squeezed() }
    val blocks = Regex("```(\\w*)\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(module.resolve(page).readText())
    val texts = blocks.filter { it.groupValues[1] == "kotlin" }.map { it.groupValues[2].squeezed() }.toList()
    assertTrue(texts.size >= atLeast, "${texts.size} examples")
    for (text in texts) {
        val (imports, shown) = text.lines().partition { it.startsWith("import ") }
        assertTrue(shown.joinToString("\n") in code, text)
        for (line in imports) {
            val from = line.removePrefix("import ").substringBeforeLast('.')
            assertTrue(line in code || "package $from" in code || line.endsWith("*") && "import $from." in code, line)
        }
    }
}

private fun String.squeezed() = lineSequence().map(String::trim).filter(String::isNotEmpty).joinToString("\n")
