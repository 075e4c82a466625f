/*
 * Watched queries, the sync status and the badge in a composition, on the real engine.
 */
package dev.rejoin.compose

import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.compose.ui.test.ComposeUiTest
import androidx.compose.ui.test.ExperimentalTestApi
import androidx.compose.ui.test.hasContentDescription
import androidx.compose.ui.test.onNodeWithContentDescription
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.v2.runComposeUiTest
import androidx.lifecycle.Lifecycle
import androidx.lifecycle.compose.LocalLifecycleOwner
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.SyncState
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test

@OptIn(ExperimentalTestApi::class)
class RememberWatchTest {
    private val lifecycle = TestLifecycle()
    private val seen = mutableListOf<WatchState<String>>()
    private var sql by mutableStateOf("SELECT body FROM note ORDER BY id")
    private var params by mutableStateOf<List<Any?>>(emptyList())

    @BeforeEach
    fun needsSkia() = assumeSkia()

    private fun watching(client: RejoinClient, body: suspend ComposeUiTest.() -> Unit) =
        runComposeUiTest {
            setContent {
                CompositionLocalProvider(LocalLifecycleOwner provides lifecycle) {
                    val state by client.rememberWatch(sql, *params.toTypedArray()) { it.string(0) }
                    if (seen.lastOrNull() != state) seen += state
                }
            }
            body()
        }

    private fun ComposeUiTest.sees(state: WatchState<String>) = waitUntil(timeoutMillis = TIMEOUT) { seen.lastOrNull() == state }

    private fun rows(vararg rows: String) = WatchState.Rows(rows.asList())

    @Test
    fun `watch loads and follows commits`() =
        Fixture().use { fixture ->
            val client = fixture.local()
            watching(client) {
                sees(rows())
                assertEquals(WatchState.Loading, seen.first())
                fixture.run { client.execute("INSERT INTO note VALUES ('a', 'one')") }
                sees(rows("one"))
            }
        }

    @Test
    fun `watch restarts with other parameters, by content`() =
        Fixture().use { fixture ->
            val client = fixture.local()
            fixture.run { client.executeScript("INSERT INTO note VALUES ('a', 'one'); INSERT INTO note VALUES (x'01', 'two')") }
            sql = "SELECT body FROM note WHERE id = ?"
            params = listOf(byteArrayOf(1))
            watching(client) {
                sees(rows("two"))
                params = listOf(byteArrayOf(1)) // The same content.
                waitForIdle()
                assertEquals(listOf(WatchState.Loading, rows("two")), seen)
                params = listOf("a")
                sees(rows("one"))
                assertEquals(listOf(WatchState.Loading, rows("two"), WatchState.Loading, rows("one")), seen)
            }
        }

    @Test
    fun `failing query is a state`() =
        Fixture().use { fixture ->
            val client = fixture.local()
            watching(client) {
                sees(rows())
                for (failing in listOf("SELECT nothing FROM note" to emptyList(), "SELECT id FROM note WHERE id = ?" to listOf(Any()))) {
                    sql = failing.first
                    params = failing.second
                    waitUntil(timeoutMillis = TIMEOUT) { (seen.last() as? WatchState.Failed)?.error is RejoinException.InvalidInput }
                }
                fixture.run { client.execute("INSERT INTO note VALUES ('a', 'one')") }
                params = emptyList()
                sql = "SELECT 1" // Fails in `map`.
                waitUntil(timeoutMillis = TIMEOUT) { (seen.last() as? WatchState.Failed)?.error?.message.orEmpty().contains("not text") }
                sql = "SELECT body FROM note"
                sees(rows("one"))
            }
        }

    @Test
    fun `watch pauses while the lifecycle is stopped`() =
        Fixture().use { fixture ->
            val client = fixture.local()
            watching(client) {
                sees(rows())
                lifecycle.moveTo(Lifecycle.State.CREATED)
                waitForIdle()
                fixture.run {
                    client.execute("INSERT INTO note VALUES ('a', 'one')")
                    client.watch("SELECT body FROM note").first { it.size == 1 } // Another collector has the row.
                }
                waitForIdle()
                assertEquals(rows(), seen.last())
                lifecycle.moveTo(Lifecycle.State.STARTED)
                sees(rows("one"))
            }
        }

    @Test
    fun `badge follows the status and the queue`() =
        Fixture().use { fixture ->
            val client = fixture.device()
            var clicks = 0
            runComposeUiTest {
                setContent {
                    CompositionLocalProvider(LocalLifecycleOwner provides lifecycle) {
                        val status by client.rememberSyncStatus()
                        SyncBadge(client, texts = SyncTexts(description = { state, counts -> "$state $counts ${status.state is SyncState.UpToDate}" })) { clicks++ }
                    }
                }
                fun shows(description: String) = awaits(hasContentDescription(description))
                shows("Not syncing [] false")
                fixture.run { client.execute("INSERT INTO task(id, title) VALUES ('t1', 'refused')") }
                shows("Not syncing [1 waiting] false")
                fixture.run { client.sync.run() }
                shows("Up to date [1 to review] true")
                onNodeWithContentDescription("Up to date [1 to review] true").performClick()
                assertEquals(1, clicks)
            }
        }

    @Test
    fun `key of a watch compares parameters by content`() =
        Fixture().use { fixture ->
            val client = fixture.local()
            fun key(vararg params: Any?, of: RejoinClient = client, sql: String = "SELECT ?") = WatchKey(of, sql, params)
            assertEquals(key(byteArrayOf(1), null, 2), key(byteArrayOf(1), null, 2))
            assertEquals(key(byteArrayOf(1)).hashCode(), key(byteArrayOf(1)).hashCode())
            for (other in listOf(key(byteArrayOf(2)), key(1, of = fixture.local()), key(1, sql = "SELECT 1"), key(1L))) assertNotEquals(key(1), other)
            assertTrue(key(1) != Any())
        }

    private companion object {
        const val TIMEOUT = 30_000L
    }
}
