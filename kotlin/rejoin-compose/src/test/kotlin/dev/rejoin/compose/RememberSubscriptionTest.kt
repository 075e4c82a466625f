/*
 * Subscriptions of a composition, on the real engine.
 */
package dev.rejoin.compose

import androidx.compose.runtime.CompositionLocalProvider
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.compose.ui.test.ExperimentalTestApi
import androidx.compose.ui.test.v2.runComposeUiTest
import androidx.lifecycle.compose.LocalLifecycleOwner
import dev.rejoin.RejoinException
import dev.rejoin.StreamStatus
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test

@OptIn(ExperimentalTestApi::class)
class RememberSubscriptionTest {
    private val lifecycle = TestLifecycle()
    private var project by mutableStateOf<Any?>(42)
    private var status: StreamStatus? = null
    private var error: RejoinException? = null

    @BeforeEach
    fun needsSkia() = assumeSkia()

    @Test
    fun `subscription is held while composed`() =
        Fixture().use { fixture ->
            val client = fixture.device()
            runComposeUiTest {
                setContent {
                    CompositionLocalProvider(LocalLifecycleOwner provides lifecycle) {
                        project?.let {
                            val state by client.rememberSubscription("project", mapOf("project" to it)) { failed -> error = failed }
                            status = state
                        }
                    }
                }
                fun held() = client.sync.subscriptions.filter { it.ends == null }.map { it.parameters.values.single() }
                waitUntil(timeoutMillis = TIMEOUT) { held() == listOf("42") }
                assertEquals(StreamStatus.Waiting, status)
                fixture.run { client.sync.run() }
                waitUntil(timeoutMillis = TIMEOUT) { status is StreamStatus.Refused }
                project = 43
                waitUntil(timeoutMillis = TIMEOUT) { held() == listOf("43") }
                project = 0.5
                waitUntil(timeoutMillis = TIMEOUT) { error is RejoinException.InvalidInput && held().isEmpty() }
                project = "44"
                waitUntil(timeoutMillis = TIMEOUT) { held() == listOf("44") }
                project = null
                waitUntil(timeoutMillis = TIMEOUT) { held().isEmpty() }
                assertEquals(3, client.sync.subscriptions.size)
            }
        }

    @Test
    fun `status is current when the rows of the stream are here`() =
        Fixture().use { fixture ->
            fixture.write("INSERT INTO board_member VALUES ('u1', 7, 1)")
            fixture.write("INSERT INTO card (id, board, title) VALUES ('c7', 7, 'here'), ('c8', 8, 'not here')")
            val client = fixture.device()
            runComposeUiTest {
                setContent {
                    CompositionLocalProvider(LocalLifecycleOwner provides lifecycle) {
                        val state by client.rememberSubscription("board", mapOf("board" to 7))
                        status = state
                    }
                }
                waitUntil(timeoutMillis = TIMEOUT) { client.sync.subscriptions.isNotEmpty() }
                fixture.run { client.sync.run() }
                waitUntil(timeoutMillis = TIMEOUT) { status == StreamStatus.Current }
                assertEquals(listOf("c7"), fixture.run { client.query("SELECT id FROM card") }.map { it[0] })
            }
        }

    private companion object {
        const val TIMEOUT = 30_000L
    }
}
