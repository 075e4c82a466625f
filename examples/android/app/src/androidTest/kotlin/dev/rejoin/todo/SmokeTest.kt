/*
 * What only a device or an emulator can show: the native library loads, the file survives the loss of its handle, the
 * Keystore works, and a write reaches the server. It has not been run on one: README.md says how.
 *
 * It needs the server of examples/android/server and, as the argument `token`, a token of it. It leaves one place behind.
 */
package dev.rejoin.todo

import android.content.Context
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import dev.rejoin.Verdict
import dev.rejoin.android.AndroidDatabase
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assume.assumeTrue
import org.junit.Test
import org.junit.runner.RunWith
import kotlin.time.Duration.Companion.seconds

@RunWith(AndroidJUnit4::class)
class SmokeTest {
    private val app: Context = InstrumentationRegistry.getInstrumentation().targetContext
    private val arguments = InstrumentationRegistry.getArguments()
    private val server = arguments.getString("server", SERVER)
    private val tokens = TokenStore(app)

    // The test's thread is not the main thread, so it may wait.
    @Test
    fun writeSurvivesTheLossOfItsHandleAndReachesTheServer(): Unit =
        runBlocking {
            val token = arguments.getString("token")
            assumeTrue("pass -PrejoinToken=…", token != null)
            val name = "smoke ${System.currentTimeMillis()}"

            val first = openDatabase(app, server, tokens)
            first.execute("INSERT INTO places (id, name, status) VALUES (rejoin_new_id(), ?, 'open')", name)
            // As after a killed process: only the file is left.
            first.shutdown()

            val second = openDatabase(app, server, tokens)
            assertEquals(1, second.count(name))
            val waiting = second.withClient { it.queue.all() }
            assertNotNull("the write is in the queue", waiting.find { mutation -> mutation.rows.any { it.table == "places" } })

            tokens.save(requireNotNull(token))
            assertEquals(token, TokenStore(app).read())
            second.withClient { client ->
                client.start()
                client.sync.credentialsChanged()
                for (mutation in waiting) assertEquals(Verdict.Accepted, client.queue.verdict(mutation.id, 30.seconds))
            }
            assertEquals(1, second.count(name))
            second.shutdown()
            tokens.clear()
        }

    private suspend fun AndroidDatabase.count(name: String): Int =
        query("SELECT count(*) FROM places WHERE name = ?", name) { it.long(0).toInt() }.single()
}
