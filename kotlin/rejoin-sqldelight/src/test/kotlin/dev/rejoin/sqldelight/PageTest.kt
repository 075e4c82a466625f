/*
 * The examples of docs/sqldelight.md, compiled and run; the last test compares the texts.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.async.coroutines.awaitAsList
import app.cash.sqldelight.coroutines.asFlow
import app.cash.sqldelight.coroutines.mapToList
import app.notes.Draft
import app.notes.NotesDatabase
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File

class PageTest {
    @Test
    fun `examples of the page run`() =
        story {
            val server = server(withTokens = false)
            val (file, url, schema) = Triple(file(), server.url, server.schema)
            val log = mutableListOf<String>()

            val client = RejoinClient.open(RejoinConfig(file, server = url, userId = "ana", schema = schema))
            client.createOrMigrate(NotesDatabase.Schema)
            val database = NotesDatabase(RejoinSqlDriver(client))
            client.start()

            database.taskQueries.add("t1", "buy milk")
            val titles = database.taskQueries.all().asFlow().mapToList(Dispatchers.Default).map { tasks -> tasks.map { it.title } }

            assertEquals(listOf("buy milk"), titles.first())
            database.transaction {
                val position = database.taskQueries.all().awaitAsList().size.toLong()
                database.taskQueries.add("t2", "buy bread")
                database.draftQueries.add(Draft(0, "t2", size = null, picture = null, pinned = position > 10))
                afterCommit { log += "stored" }
            }
            assertEquals(listOf("stored"), log)
            client.sync.run()
            assertEquals(0, client.queue.all().size)
            assertEquals(listOf("buy milk", "buy bread"), titles.first())
            client.shutdown()
        }

    @Test
    fun `examples of the page match this file`() {
        val module = File(System.getProperty("basedir"))
        val code = module.resolve("src/test/kotlin/dev/rejoin/sqldelight/PageTest.kt").readText().squeezed()
        val blocks = Regex("```kotlin\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(module.resolve("../../docs/sqldelight.md").readText())
        val texts = blocks.map { block -> block.groupValues[1].lines().filterNot { it.startsWith("import ") }.joinToString("\n").squeezed() }.toList()
        assertEquals(2, texts.size)
        for (text in texts) assertTrue(text in code, text)
    }

    private fun String.squeezed() = lineSequence().map(String::trim).filter(String::isNotEmpty).joinToString("\n")
}
