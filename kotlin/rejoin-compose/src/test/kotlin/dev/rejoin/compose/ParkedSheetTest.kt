/*
 * The user's decisions about really parked mutations, on the real engine against a real server.
 */
package dev.rejoin.compose

import androidx.compose.material3.MaterialTheme
import androidx.compose.ui.test.ComposeUiTest
import androidx.compose.ui.test.ExperimentalTestApi
import androidx.compose.ui.test.assertIsEnabled
import androidx.compose.ui.test.assertIsNotEnabled
import androidx.compose.ui.test.hasContentDescription
import androidx.compose.ui.test.hasSetTextAction
import androidx.compose.ui.test.hasText
import androidx.compose.ui.test.onAllNodesWithText
import androidx.compose.ui.test.onLast
import androidx.compose.ui.test.onNodeWithText
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performScrollTo
import androidx.compose.ui.test.performTextReplacement
import androidx.compose.ui.test.v2.runComposeUiTest
import dev.rejoin.RejoinClient
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import java.util.concurrent.atomic.AtomicInteger

@OptIn(ExperimentalTestApi::class)
class ParkedSheetTest {
    private val decided = AtomicInteger()

    @BeforeEach
    fun needsSkia() = assumeSkia()

    /** Shows a parked mutation and runs [body]. */
    private fun showing(client: RejoinClient, id: String, isSheet: Boolean = false, body: suspend ComposeUiTest.() -> Unit) =
        runComposeUiTest {
            setContent {
                MaterialTheme {
                    val onEnd: () -> Unit = { decided.incrementAndGet() }
                    if (isSheet) ParkedSheet(client, id, onEnd) else ParkedContent(client, id, onEnd)
                }
            }
            body()
        }

    private fun ComposeUiTest.shows(text: String) = awaits(hasText(text))

    private fun ComposeUiTest.clicks(text: String) = shows(text).also { onNodeWithText(text).performClick() }

    private fun ComposeUiTest.types(column: String, text: String) =
        onNode(hasSetTextAction() and hasContentDescription(column)).performTextReplacement(text)

    private fun ComposeUiTest.closes() = waitUntil(timeoutMillis = 30_000) { decided.get() > 0 }

    private val mine = "UPDATE task SET title = 'mine', rank = 7"
    private val theirs = "UPDATE task SET title = 'theirs', rank = 5"

    @Test
    fun `keep mine sends the mutation again`() =
        Fixture().use { fixture ->
            val (client, id) = fixture.conflict(mine, theirs)
            showing(client, id, isSheet = true) {
                for (text in listOf("Changed by someone else", "mine", "theirs", "7", "5")) shows(text)
                clicks("Keep mine")
                closes()
            }
            fixture.run { client.sync.run() }
            assertEquals(listOf(listOf("mine", "7")), fixture.rows("SELECT title, rank FROM task"))
            assertEquals(0, fixture.run { client.queue.all().size })
        }

    @Test
    fun `take theirs discards the mutation`() =
        Fixture().use { fixture ->
            val (client, id) = fixture.conflict(mine, theirs)
            showing(client, id) {
                clicks("Take theirs")
                closes()
            }
            assertEquals(listOf("theirs"), fixture.run { client.query("SELECT title FROM task") { it.string(0) } })
            assertEquals(0, fixture.run { client.queue.all().size })
        }

    @Test
    fun `edit sends other values of the same types`() =
        Fixture().use { fixture ->
            val (client, id) = fixture.conflict("$mine, done = 1, note = 'Soon'", theirs)
            showing(client, id) {
                clicks("Edit")
                types("Rank", "many")
                shows("Enter a whole number")
                onNodeWithText("Save and send").assertIsNotEnabled()
                types("Rank", "12")
                types("Title", "both")
                onNodeWithText("Done").performScrollTo().performClick()
                onAllNodesWithText("Clear").onLast().performScrollTo().performClick() // The note's.
                clicks("Save and send")
                closes()
            }
            fixture.run { client.sync.run() }
            assertEquals(listOf(listOf("both", "0", "12", "integer", null)), fixture.rows("SELECT title, done, rank, typeof(rank), note FROM task"))
            assertEquals(0, fixture.run { client.queue.all().size })
        }

    @Test
    fun `edit of a rejected create sends its chain`() =
        Fixture().use { fixture ->
            val (client, _, edit) = fixture.refusedChain()
            showing(client, edit) { // The sheet shows the create, which the edit depends on.
                for (text in listOf("Not accepted", "refused", "1 later change depends on this one and is decided with it.")) shows(text)
                clicks("Edit")
                types("Title", "good")
                clicks("Save and send")
                closes()
            }
            fixture.run { client.sync.run() }
            assertEquals(listOf(listOf("good", "2")), fixture.rows("SELECT title, rank FROM task"))
            assertEquals(0, fixture.run { client.queue.all().size })
        }

    @Test
    fun `discard removes the chain`() =
        Fixture().use { fixture ->
            val (client, create, _) = fixture.refusedChain()
            showing(client, create) {
                clicks("Discard")
                closes()
            }
            assertEquals(0, fixture.run { client.queue.all().size })
            assertEquals(listOf(listOf("0")), fixture.rows("SELECT count(*) FROM task"))
        }

    @Test
    fun `second tap does nothing`() =
        Fixture().use { fixture ->
            val (client, id) = fixture.conflict(mine, theirs)
            showing(client, id) {
                shows("Keep mine")
                // Both taps arrive before the next frame, so the buttons are still enabled.
                mainClock.autoAdvance = false
                onNodeWithText("Keep mine").performClick()
                onNodeWithText("Take theirs").performClick()
                mainClock.autoAdvance = true
                closes()
            }
            assertEquals(1, decided.get())
            fixture.run { client.sync.run() }
            assertEquals(listOf(listOf("mine")), fixture.rows("SELECT title FROM task"))
        }

    @Test
    fun `failed call is shown and keeps the mutation`() =
        Fixture().use { fixture ->
            val (client, id) = fixture.conflict(mine, theirs)
            showing(client, id) {
                shows("Keep mine")
                fixture.run { client.sync.suspend() }
                clicks("Keep mine")
                awaits(hasText("suspended", substring = true))
                fixture.run { client.sync.resume() }
                onNodeWithText("Keep mine").assertIsEnabled()
                assertEquals(0, decided.get())
                assertEquals(id, fixture.run { client.queue.all().single().id })
                clicks("Keep mine")
                closes()
            }
            fixture.run { client.sync.run() }
            assertEquals(listOf(listOf("mine")), fixture.rows("SELECT title FROM task"))
        }

    @Test
    fun `decision elsewhere closes the sheet`() =
        Fixture().use { fixture ->
            val (client, id) = fixture.conflict(mine, theirs)
            showing(client, id, isSheet = true) {
                shows("Keep mine")
                fixture.run { client.queue.discardChain(id) }
                closes()
            }
            showing(client, "unknown") { closes() }
        }

    @Test
    fun `current values follow the server`() =
        Fixture().use { fixture ->
            val (client, id) = fixture.conflict(mine, theirs)
            showing(client, id) {
                shows("theirs")
                val other = fixture.device()
                fixture.run {
                    other.sync.run()
                    other.execute("UPDATE task SET title = 'newer'")
                    other.sync.run()
                    client.sync.run()
                }
                shows("newer")
            }
        }
}
