/*
 * The calls of the screens, on the real engine and the server that the example's README starts.
 *
 * The tests run on Robolectric's main thread, which the database refuses to block: `calls` runs them on another thread.
 */
package dev.rejoin.todo

import android.Manifest.permission.ACCESS_NETWORK_STATE
import android.Manifest.permission.INTERNET
import android.app.Activity
import android.app.Application
import android.os.Bundle
import android.os.Looper
import androidx.lifecycle.ProcessLifecycleOwner
import androidx.test.platform.app.InstrumentationRegistry
import dev.rejoin.ParkReason
import dev.rejoin.SyncState
import dev.rejoin.VerdictKind
import dev.rejoin.android.AndroidDatabase
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.jsonObject
import org.junit.After
import org.junit.AfterClass
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.BeforeClass
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.shadows.ShadowLog
import java.time.Duration
import kotlin.time.Duration.Companion.seconds

@RunWith(RobolectricTestRunner::class)
class InspectionsTest {
    private val app: Application = RuntimeEnvironment.getApplication()
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private lateinit var shown: ActivityController<Activity>
    private lateinit var database: AndroidDatabase
    private lateinit var inspections: Inspections

    @Before
    fun open() {
        installKeystore()
        addAssets()
        shadowOf(app).grantPermissions(INTERNET, ACCESS_NETWORK_STATE)
        // What androidx.startup does in an app.
        val companion = ProcessLifecycleOwner.Companion
        companion.javaClass.methods.single { it.name.startsWith("init") }.invoke(companion, app)
        shown = Robolectric.buildActivity(Activity::class.java).setup()
        val tokens = TokenStore(app)
        database = openDatabase(app, server.url, tokens)
        inspections = Inspections(database, tokens)
    }

    @After
    fun shutdown() {
        calls { database.shutdown() }
        scope.cancel()
        // The lifecycle of the process outlives the test: the next one starts in the background, too.
        shown.pause().stop().destroy()
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofSeconds(1))
    }

    @Test
    fun `sign-in syncs the places of the demo`() =
        calls {
            inspections.restore()
            assertEquals(false, inspections.isSignedIn.value)
            state { it is SyncState.NeedsAuth }
            inspections.signIn(server.token() + "\n")
            state { it is SyncState.UpToDate }
            assertEquals(200, places("").size)
            assertEquals(listOf(Place("geo-3413829", "Reykjavík", "IS", done = false, state = "synced")), places("reykjav"))
            val again = Inspections(database, TokenStore(app))
            again.restore()
            assertEquals(true, again.isSignedIn.value)
        }

    @Test
    fun `rejected token asks for another sign-in and loses no write`() =
        calls {
            inspections.signIn("no token of this server")
            inspections.add("Pier 7")
            state { it is SyncState.NeedsAuth }
            inspections.signIn(server.token())
            state { it is SyncState.UpToDate }
            place("Pier 7") { it.state == "synced" }
            assertEquals("inspectors", server.sql("SELECT owner_id FROM places WHERE name = 'Pier 7'"))
        }

    @Test
    fun `edits made offline reach the server when the network returns`() =
        calls {
            inspections.signIn(server.token())
            state { it is SyncState.UpToDate }
            inspections.setOffline(true)
            state { it is SyncState.Offline }
            inspections.add("Quay 3")
            val quay = place("Quay 3") { it.state == "pending" }
            inspections.setDone(quay.id, true)
            inspections.addVisit(quay.id, 88)
            assertEquals(3, inspections.queue().first().waiting.size)
            inspections.setOffline(false)
            place("Quay 3") { it.state == "synced" && it.done }
            server.awaits("88|inspected", "SELECT score, status FROM visits JOIN places ON places.id = place_id WHERE name = 'Quay 3'")
            inspections.delete(quay.id)
            server.awaits("0", "SELECT count(*) FROM places WHERE name = 'Quay 3' AND deleted_at IS NULL")
        }

    @Test
    fun `edit of another device appears in the list`() =
        calls {
            inspections.signIn(server.token())
            state { it is SyncState.UpToDate }
            server.sql("UPDATE places SET status = 'inspected' WHERE id = 'geo-3161732'")
            assertEquals("geo-3161732", place("Bergen") { it.done }.id)
        }

    @Test
    fun `visit that the server rejects is parked until the user decides`() =
        calls {
            inspections.signIn(server.token())
            state { it is SyncState.UpToDate }
            inspections.addVisit("geo-1850147", 140)
            val queue = inspections.queue().first { it.parked.isNotEmpty() && it.verdicts.isNotEmpty() }
            val parked = queue.parked.single()
            assertEquals(ParkReason.REJECTED, parked.reason)
            assertEquals("visits", parked.rows.single().table)
            assertEquals(listOf(parked.id to VerdictKind.PARKED), queue.verdicts.map { it.id to it.kind })
            inspections.acknowledge(queue.verdicts)
            assertEquals(QueueView(emptyList(), listOf(parked), emptyList()), inspections.queue().first())
            database.withClient { it.queue.discardChain(parked.id) }
            inspections.queue().first { it.parked.isEmpty() }
        }

    @Test
    fun `sign-out keeps unsent edits unless the user gives them up`() =
        calls {
            inspections.signIn(server.token())
            state { it is SyncState.UpToDate }
            inspections.setOffline(true)
            inspections.add("Only here")
            assertEquals(1, inspections.signOut(discardUnsent = false))
            assertEquals(true, inspections.isSignedIn.value)
            assertEquals(1, places("Only here").size)
            assertEquals(0, inspections.signOut(discardUnsent = true))
            assertEquals(false, inspections.isSignedIn.value)
            assertNull(TokenStore(app).read())
            assertTrue(places("").isEmpty())
            inspections.setOffline(false)
            inspections.signIn(server.token("another"))
            state { it is SyncState.UpToDate }
            assertTrue("another user's places", places("").isEmpty())
        }

    @Test
    fun `instrumented test passes without a device`() {
        val arguments = Bundle()
        arguments.putString("server", server.url)
        arguments.putString("token", server.token())
        InstrumentationRegistry.registerInstance(InstrumentationRegistry.getInstrumentation(), arguments)
        calls { SmokeTest().writeSurvivesTheLossOfItsHandleAndReachesTheServer() }
        assertEquals("1", server.sql("SELECT count(*) FROM places WHERE name LIKE 'smoke %'"))
    }

    @Test
    fun `bundled schema is that of the server`() {
        val bundled = app.assets.open("schema.json").reader().use { it.readText() }
        assertEquals(withoutTime(server.schema()), withoutTime(bundled))
    }

    private fun withoutTime(schema: String): Map<String, JsonElement> = Json.parseToJsonElement(schema).jsonObject - "server_time"

    /** Without a compiler for resources, Robolectric has no archive of the app. */
    @Suppress("DEPRECATION")
    private fun addAssets() {
        check(app.assets.addAssetPath(System.getProperty("rejoin.assets")) != 0) { "no assets" }
    }

    private suspend fun places(name: String): List<Place> = database.query(PLACES, name) { Place(it) }

    /** Waits until the only place of this name fulfils the condition. */
    private suspend fun place(name: String, condition: (Place) -> Boolean): Place =
        database.watch(PLACES, name).first { rows -> rows.size == 1 && condition(Place(rows.first())) }.let { Place(it.first()) }

    private suspend fun state(condition: (SyncState) -> Boolean) {
        database.status.first { condition(it.state) }
    }

    private suspend fun DemoServer.awaits(expected: String, query: String) {
        while (sql(query) != expected) delay(20)
    }

    /** Runs a block on another thread, and the main thread meanwhile. Prints the app's log if the block fails. */
    private fun calls(block: suspend () -> Unit) {
        val done = scope.async { withTimeout(10.seconds) { block() } }
        while (!done.isCompleted) {
            shadowOf(Looper.getMainLooper()).idle()
            Thread.sleep(1)
        }
        done.invokeOnCompletion { error -> if (error != null) ShadowLog.getLogsForTag("Rejoin").forEach { println(it.msg) } }
        runBlocking { done.await() }
    }

    companion object {
        private lateinit var server: DemoServer

        @BeforeClass
        @JvmStatic
        fun start() {
            server = DemoServer()
        }

        @AfterClass
        @JvmStatic
        fun end() = server.close()
    }
}
