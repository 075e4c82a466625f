/*
 * What goes wrong in apps: each is a typed error that names the remedy.
 */
package dev.rejoin.android

import android.Manifest.permission.INTERNET
import dev.rejoin.RejoinConfig
import dev.rejoin.RejoinException
import dev.rejoin.SyncState
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assert.assertThrows
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import java.util.concurrent.atomic.AtomicBoolean

@RunWith(RobolectricTestRunner::class)
class BadInputTest {
    private inline fun <reified E : RejoinException> AndroidStory.refused(database: AndroidDatabase): String =
        assertThrows(E::class.java) { calls { database.query("SELECT 1") } }.reason

    @Test
    fun `missing native library names the packages that have it`() {
        val printed = child("count", RejoinConfig("unused.db", schema = "{}"), library = "/nowhere")
        assertTrue("$printed", printed.single().startsWith("Configuration: the native library rejoin_ffi cannot be loaded: "))
        assertTrue("$printed", "jniLibs" in printed.single() && "jna.library.path" in printed.single())
    }

    @Test
    fun `full disk refuses the write, keeps the earlier ones, and the file opens again`() =
        androidStory {
            val config = RejoinConfig(app.noBackupFilesDir.resolve("full.db").path, schema = server().schema)
            // No file may exceed 2 MB.
            val printed = child("fill", config, shell = "ulimit -f 4000;")
            val written = printed.dropLast(1)
            assertTrue("$printed", written.size > 20)
            assertTrue(printed.last(), printed.last().startsWith("Storage: "))
            assertEquals("rows ${written.size}", child("count", config).single())
        }

    @Test
    fun `app without the permission for the network`() =
        androidStory {
            shadowOf(app).denyPermissions(INTERNET)
            assertTrue("android.permission.INTERNET" in refused<RejoinException.Configuration>(database(server())))
            shadowOf(app).grantPermissions(INTERNET)
            assertEquals(1, calls { database(server()).query("SELECT 1") }.size)
        }

    @Test
    fun `runBlocking on the main thread`() =
        androidStory {
            val database = database(server())
            val error = assertThrows(RejoinException.InvalidInput::class.java) { runBlocking { database.query("SELECT 1") } }
            assertTrue(error.reason, "lifecycleScope.launch" in error.reason)
        }

    @Test
    fun `missing schema asset, then a broken one`() =
        androidStory {
            val server = server()
            assertEquals(
                "asset schema.json: not in the app; put it into src/main/assets",
                refused<RejoinException.Configuration>(database(server) { schema = asset("schema.json") }),
            )
            val reason = refused<RejoinException.Configuration>(database(server, "broken.db") { schema = "{\"tables\": 1}" })
            assertTrue(reason, "schema" in reason)
        }

    @Test
    fun `token provider that throws is asked again, and local work continues`() =
        androidStory {
            val server = server()
            val locked = AtomicBoolean(true)
            enters()
            val database = database(server) { tokens { if (locked.get()) error("keystore is locked") else server.token("u1") } }
            calls { database.execute("INSERT INTO task(id, title) VALUES ('t1', 'kept')") }
            await({ "the failed pass; it is ${database.status.value}" }) { database.status.value.state.let { "keystore is locked" in "$it" || it == SyncState.NeedsAuth } }
            locked.set(false)
            calls { database.withClient { it.sync.credentialsChanged() } }
            await({ "the push" }) { server.rows("SELECT id FROM task").isNotEmpty() }
        }

    @Test
    fun `closed database says where to get a new one`() =
        androidStory {
            val database = database(server())
            calls { database.shutdown() }
            assertEquals("the database todo.db is shut down; get a new one from Rejoin.android", refused<RejoinException.Closed>(database))
        }
}
