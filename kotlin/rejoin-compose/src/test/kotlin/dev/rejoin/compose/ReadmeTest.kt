/*
 * The README examples, compiled and run; the last test compares the texts.
 */
package dev.rejoin.compose

import androidx.compose.foundation.layout.Column
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.test.ExperimentalTestApi
import androidx.compose.ui.test.hasContentDescription
import androidx.compose.ui.test.hasText
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.v2.runComposeUiTest
import androidx.lifecycle.compose.LocalLifecycleOwner
import dev.rejoin.MutationState
import dev.rejoin.SyncedDatabase
import dev.rejoin.decode
import kotlinx.coroutines.launch
import kotlinx.serialization.Serializable
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File

@OptIn(ExperimentalTestApi::class)
class ReadmeTest {
    @Serializable
    data class Task(val id: String, val title: String)

    @Composable
    fun TaskScreen(database: SyncedDatabase) {
        val tasks by database.rememberWatch("SELECT id, title FROM tasks ORDER BY position") { it.decode<Task>() }
        var review by remember { mutableStateOf<String?>(null) }
        val scope = rememberCoroutineScope()
        Column {
            SyncBadge(database) {
                scope.launch { review = database.withClient { it.queue.parked() }.firstOrNull()?.id }
            }
            when (val state = tasks) {
                is WatchState.Loading -> CircularProgressIndicator()
                is WatchState.Rows -> for (task in state.rows) Text(task.title)
                is WatchState.Failed -> Text("The tasks cannot be read: ${state.error.message}")
            }
        }
        review?.let { id -> ParkedSheet(database, id, onDismiss = { review = null }) }
    }

    @Test
    fun `README screen shows rows and lets the user decide`() {
        assumeSkia()
        Fixture().use { fixture ->
            val insert = "INSERT INTO tasks(id, title) VALUES ('t1', 'Call the harbour')"
            val (client, _) = fixture.conflict("UPDATE tasks SET title = 'mine'", "UPDATE tasks SET title = 'theirs'", insert)
            runComposeUiTest {
                setContent {
                    CompositionLocalProvider(LocalLifecycleOwner provides TestLifecycle()) { MaterialTheme { TaskScreen(client) } }
                }
                val badge = hasContentDescription("1 to review", substring = true)
                for (next in listOf(badge, hasText("Keep mine"))) {
                    awaits(next)
                    onNode(next).performClick()
                }
                // The sheet has closed, and the row shows the user's value.
                waitUntil(timeoutMillis = 30_000) {
                    onAllNodes(hasText("mine")).fetchSemanticsNodes().size == 1 && onAllNodes(hasText("theirs")).fetchSemanticsNodes().isEmpty()
                }
            }
            assertEquals(MutationState.PENDING, fixture.run { client.queue.all().single().state })
        }
    }

    @Test
    fun `README texts can be replaced`() {
        val texts = ParkedTexts(rowTitle = { table, _ -> if (table == "tasks") "Task" else table }, keepMine = "Keep my version")
        assertEquals(listOf("Task", "tag", "Keep my version"), listOf(texts.rowTitle("tasks", "t1"), texts.rowTitle("tag", 1), texts.keepMine))
    }

    @Test
    fun `README code is in this file`() {
        val plain = { text: String -> text.replace(Regex("\\s+"), " ").trim() }
        val tested = plain(File("src/test/kotlin/dev/rejoin/compose/ReadmeTest.kt").readText())
        val blocks = File("README.md").readText().split("```kotlin\n").drop(1).map { it.substringBefore("```") }
        val examples = blocks.map { block -> plain(block.lines().filterNot { it.startsWith("import ") }.joinToString("\n")) }
        assertEquals(2, examples.size)
        for (example in examples) assertTrue(example in tested, example)
    }
}
