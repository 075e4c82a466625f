/*
 * The README examples, compiled and run; the last test compares the texts.
 */
package dev.rejoin

import app.schema.PlacesRow
import app.schema.takePart
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

class ReadmeTest {
    @Serializable
    data class Task(val id: String, val title: String, val done: Boolean = false)

    @Serializable
    data class Raise(val id: String, val by: Int = 1)

    private fun interface Session {
        fun token(refresh: Boolean): String?
    }

    @Test
    fun `README examples run`() =
        story {
            val server = server()
            val (file, url, schema) = Triple(file(), server.url, server.schema)
            val session = Session { server.token("u1") }
            val names = listOf("shop", "soon")

            val config = RejoinConfig(file, serverUrl = url, schemaJson = schema)
            val client = RejoinClient.open(config, tokens = TokenProvider { refresh -> session.token(refresh) })
            client.start() // Syncs in the background from now on; being offline is a status, not an exception.

            client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "buy milk")

            client.transaction { tx ->
                val rank = tx.query("SELECT ifnull(max(rank), 0) + 1 FROM task").first().long(0)
                tx.execute("INSERT INTO task(id, title, rank) VALUES (?, ?, ?)", "t2", "buy bread", rank)
                tx.execute("INSERT INTO tag(id, task_id, name) VALUES (?, ?, ?)", "g1", "t2", "home")
            }
            client.batch(names.mapIndexed { number, name -> Statement("INSERT INTO tag(id, task_id, name) VALUES (?, 't1', ?)", "n$number", name) })

            val titles: List<String> = client.query("SELECT title FROM task WHERE done = ?", false) { it.string("title") }
            val tasks: List<Task> = client.query("SELECT id, title, done FROM task ORDER BY rank").decode()
            assertEquals(setOf("buy milk", "buy bread"), titles.toSet())
            assertEquals(listOf(Task("t1", "buy milk"), Task("t2", "buy bread")), tasks)

            val open: Flow<List<Task>> = client.watch("SELECT id, title, done FROM task WHERE done = 0").map { it.decode<Task>() }
            val shown = open.first { tasks -> tasks.any { it.title == "buy milk" } }
            assertEquals(2, shown.size)

            val report = client.syncAndWait(30.seconds)
            val waiting = client.pending()
            val upToDate = client.status.first { it.state is SyncState.UpToDate }
            assertEquals(0, report.stillPending)
            assertEquals(0, waiting.size)
            assertEquals(FirstSync.DONE, upToDate.firstSync)

            try {
                client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "a second of its name")
            } catch (broken: RejoinException.Constraint) {
                println("${broken.column} is taken: ${broken.rule}")
            }
            assertEquals(3, client.query("SELECT count(*) FROM tag")[0].int(0))
            client.shutdown()
        }

    @Test
    fun `README examples of generated types run`() =
        story {
            val client = offline(Actions { declare(generatedFrom("take_part.json")) }) { copy(schemaJson = generatedFrom("schema.json")) }

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
    fun `README examples of actions and decisions run`() =
        story {
            val server = server()
            val (config, tokens) = server.run { config(file()) } to TokenProvider { server.token("u1") }
            val actions =
                Actions {
                    declare(
                        """
                        {"name": "finish", "parameters": [{"name": "id", "type": "text"}],
                         "preconditions": [{"sql": "SELECT NOT done FROM task WHERE id = :id", "message": "it is done already"}],
                         "statements": ["UPDATE task SET done = 1 WHERE id = :id"]}
                        """,
                    )
                    handlerOf<Raise, Int>("raise") { context, raise ->
                        val rank = context.query("SELECT rank FROM task WHERE id = ?", raise.id) { it.int(0) }.single()
                        if (rank + raise.by > 10) context.refuse("ten is the highest")
                        context.execute("UPDATE task SET rank = ? WHERE id = ?", rank + raise.by, raise.id)
                        rank + raise.by
                    }
                }
            val client = RejoinClient.open(config, tokens, actions = actions)
            client.adds("t1", "buy milk")

            val raised = client.perform("raise", Raise("t1", by = 3))
            println("It has rank ${raised.decode<Int>()} now.")
            client.perform("finish", "id" to "t1")
            try {
                client.perform("raise", "id" to "t1", "by" to 50)
            } catch (why: RejoinException.Action) {
                if (why.fault == ActionFault.REFUSED) println(why.words)
            }
            assertEquals(listOf(3 to true), client.query("SELECT rank, done FROM task") { it.int(0) to it.boolean(1) })

            client.adds("t2", "refused")
            val scope = CoroutineScope(Dispatchers.Default)
            scope.launch {
                client.watchVerdicts().collect { news ->
                    for (verdict in news.entries.filter { it.kind == VerdictKind.PARKED }) {
                        when (verdict.reason) {
                            ParkReason.CONFLICTED -> client.retry(verdict.id) // Keep the local edit.
                            ParkReason.DEPENDS -> Unit // Resolved with the mutation in becauseOf.
                            else -> {
                                val edited = client.edit(verdict.id) { tx -> tx.execute("UPDATE task SET title = 'corrected' WHERE title = 'refused'") }
                                edited?.let { client.retryChain(it) }
                            }
                        }
                    }
                    client.acknowledgeVerdicts(news.entries.last().number)
                }
            }
            client.syncAndWait()
            client.watch("SELECT title FROM task") { it.string(0) }.first { "corrected" in it }
            while (client.syncAndWait().run { stillPending > 0 } || client.pending().isNotEmpty()) delay(1.milliseconds)
            assertEquals(listOf(listOf("buy milk", "3"), listOf("corrected", "0")), server.rows("SELECT title, rank FROM task ORDER BY id"))
            scope.cancel()

            client.adds("t3", "refused")
            client.syncAndWait()
            for (mutation in client.pending().filter { it.state == MutationState.PARKED }) client.discardChain(mutation.id)
            assertEquals(0, client.pending().size)

            client.stop() // Otherwise a sync would restore the rows deleted below.
            val last = client.history(1).first()
            try {
                client.undo(last.id)
            } catch (changed: RejoinException.Changed) {
                for (row in changed.rows) println("${row.table} ${row.key}: ${row.columns} changed since")
            }
            assertEquals(listOf("buy milk"), client.titles())

            val unsent = client.pending().map { it.id }
            val gone = client.reset(Keep.LOCAL, giveUp = unsent)
            println("${gone.givenUp.size} given up")
            assertEquals(emptyList<String>(), client.titles())
            client.shutdown()
        }

    @Test
    fun `README examples match this file`() {
        val module = File(System.getProperty("rejoin.module"))
        val code = module.resolve("src/test/kotlin/dev/rejoin/ReadmeTest.kt").readText().squeezed()
        val examples = Regex("```kotlin\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(module.resolve("../README.md").readText())
        val texts = examples.map { it.groupValues[1].squeezed() }.toList()
        assertTrue(texts.size >= 15, "${texts.size} examples")
        for (text in texts) assertTrue(text in code, text)
    }

    private fun String.squeezed() = lineSequence().map(String::trim).filter(String::isNotEmpty).joinToString("\n")
}
