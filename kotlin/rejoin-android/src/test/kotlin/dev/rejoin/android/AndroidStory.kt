/*
 * Test support: an app with its activities, on Robolectric's main thread, over the real engine and a real server.
 *
 * The test's own thread is the main thread. It runs what was posted to it only while a test waits, in `calls` and `await`.
 */
package dev.rejoin.android

import android.Manifest.permission.ACCESS_NETWORK_STATE
import android.Manifest.permission.INTERNET
import android.app.Activity
import android.app.Application
import android.content.Context
import android.os.Bundle
import android.os.Looper
import androidx.lifecycle.ProcessLifecycleOwner
import dev.rejoin.Rejoin
import dev.rejoin.StoryServer
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.runBlocking
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import java.time.Duration as JavaDuration
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours

/** An app that offers its database to the worker. */
class TodoApp : Application(), RejoinProvider {
    var make: (TodoApp) -> AndroidDatabase = { Rejoin.android(it, "todo.db") }
    override val rejoin: AndroidDatabase get() = make(this)
}

class TodoActivity : Activity() {
    @Volatile
    var shown = -1

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        onCreated(this)
    }

    companion object {
        var onCreated: (TodoActivity) -> Unit = {}
    }
}

fun androidStory(body: AndroidStory.() -> Unit) {
    val story = AndroidStory()
    try {
        story.body()
    } finally {
        story.end()
    }
}

class AndroidStory {
    val app: Application = RuntimeEnvironment.getApplication()
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val databases = mutableListOf<AndroidDatabase>()
    private val activities = mutableListOf<ActivityController<TodoActivity>>()
    private val servers = mutableListOf<StoryServer>()

    init {
        attachProcessLifecycle(app)
        // The AAR's manifest has them.
        shadowOf(app).grantPermissions(INTERNET, ACCESS_NETWORK_STATE)
    }

    fun server(): StoryServer = StoryServer().also(servers::add)

    /** The app's database on a server; it syncs only on request. */
    fun database(server: StoryServer, name: String = "todo.db", more: AndroidOptions.() -> Unit = {}): AndroidDatabase =
        Rejoin.android(app, name) {
            this.server = server.url
            schema = server.schema
            tokens { server.token("u1") }
            config { it.copy(syncInterval = 1.hours, pushDebounce = Duration.ZERO) }
            more()
        }.also(databases::add)

    /** Runs a suspending [block] on another thread, and the main thread meanwhile. */
    fun <T> calls(block: suspend () -> T): T {
        val done = scope.async { block() }
        await({ "the end of the call" }) { done.isCompleted }
        return runBlocking { done.await() }
    }

    /** Runs the main thread until the [condition] holds. */
    fun await(what: () -> String, condition: () -> Boolean) {
        val end = System.nanoTime() + LIMIT_NANOS
        while (!condition()) {
            check(System.nanoTime() < end) { "${what()} did not come" }
            shadowOf(Looper.getMainLooper()).idle()
            Thread.sleep(1)
        }
        shadowOf(Looper.getMainLooper()).idle()
    }

    /** Shows an activity: the app is in the foreground. */
    fun enters(): ActivityController<TodoActivity> =
        Robolectric.buildActivity(TodoActivity::class.java).setup().also(activities::add)

    /** Hides all activities. The process counts as stopped 0.7 s later, by the main thread's clock. */
    fun leaves() {
        for (activity in activities) activity.pause().stop().destroy()
        activities.clear()
        shadowOf(Looper.getMainLooper()).idleFor(JavaDuration.ofSeconds(1))
    }

    fun end() {
        leaves()
        for (database in databases) runCatching { calls { database.shutdown() } }
        servers.forEach { it.close() }
    }

    private companion object {
        const val LIMIT_NANOS = 30_000_000_000L

        /** What androidx.startup does in an app. */
        fun attachProcessLifecycle(context: Context) {
            val companion = ProcessLifecycleOwner.Companion
            companion.javaClass.methods.single { it.name.startsWith("init") }.invoke(companion, context)
        }
    }
}
