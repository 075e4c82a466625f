/*
 * The examples of docs/android.md that need Android; GuideTest.kt in the module rejoin compares the texts.
 */
package dev.rejoin.android

import android.app.Application
import dev.rejoin.LogLevel
import dev.rejoin.Rejoin
import dev.rejoin.SyncState
import dev.rejoin.TokenProvider
import dev.rejoin.watch
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.serialization.Serializable
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.shadows.ShadowLog

private val session = TokenProvider { null }

/** Compiled only: without Gradle a test has no assets. */
class TaskApp : Application(), RejoinProvider {
    override val rejoin by lazy {
        Rejoin.android(this, "tasks.db") {
            server = "http://10.0.2.2:7878" // The computer, in an emulator.
            schema = asset("schema.json")
            config { it.copy(userId = "ana", allowHttp = true) } // For development only.
        }
    }
}

/** Compiled only, as above. */
fun Application.withTokens(): AndroidDatabase =
    Rejoin.android(this, "tasks.db") {
        server = "https://sync.example.org"
        schema = asset("schema.json")
        tokens { refresh -> session.token(refresh) }
    }

@RunWith(RobolectricTestRunner::class)
class GuideTest {
    @Serializable
    data class Task(val id: String, val title: String)

    @Test
    fun `examples of the Android guide run`() =
        androidStory {
            Rejoin.setLogger(LogLevel.DEBUG, LogcatLogger)
            enters()
            val database = database(server())
            val open: Flow<List<Task>> = database.watch<Task>("SELECT id, title FROM tasks WHERE done = ?", false)
            calls {
                database.execute("INSERT INTO tasks(id, title) VALUES (rejoin_new_id(), ?)", "buy milk")
                assertEquals("buy milk", open.first { it.isNotEmpty() }.single().title)
            }
            await({ "the sync; it is ${database.status.value.state}" }) { database.status.value.state is SyncState.UpToDate }
            calls { assertEquals(0, database.withClient { it.queue.all() }.size) }
            await({ "the log" }) { ShadowLog.getLogsForTag("Rejoin").isNotEmpty() }
            assertTrue(ShadowLog.getLogsForTag("Rejoin").all { "buy milk" !in it.msg })
            Rejoin.setLogger(LogLevel.INFO, null)
            calls { database.shutdown() }
        }
}
