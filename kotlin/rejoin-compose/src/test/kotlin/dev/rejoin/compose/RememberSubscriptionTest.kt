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

    private companion object {
        const val TIMEOUT = 30_000L
    }
}
