/*
 * The examples of the README, compiled and run here word by word; the last test compares.
 */
package dev.rejoin

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.time.Duration.Companion.seconds

class ReadmeTest {
    @Serializable
    data class Task(val id: String, val title: String, val done: Boolean = false)

    private fun interface Session {
        fun token(refresh: Boolean): String?
    }

    @Test
    fun `the examples of the README do what it says`() =
        story {
            val server = server()
            val (file, url, schema) = Triple(file(), server.url, server.schema)
            val session = Session { server.token("u1") }
            val names = listOf("shop", "soon")

            val config = RejoinConfig(file, serverUrl = url, schemaJson = schema)
            val client = RejoinClient.open(config, tokens = TokenProvider { refresh -> session.token(refresh) })
            client.start() // From now on it syncs by itself; offline is a status, no exception.

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
    fun `every example of the README is the code above`() {
        val module = File(System.getProperty("rejoin.module"))
        val code = module.resolve("src/test/kotlin/dev/rejoin/ReadmeTest.kt").readText().squeezed()
        val examples = Regex("```kotlin\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(module.resolve("../README.md").readText())
        val texts = examples.map { it.groupValues[1].squeezed() }.toList()
        assertTrue(texts.size >= 7, "${texts.size} examples")
        for (text in texts) assertTrue(text in code, text)
    }

    private fun String.squeezed() = lineSequence().map(String::trim).filter(String::isNotEmpty).joinToString("\n")
}
