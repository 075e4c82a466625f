/*
 * Background work: a worker finishes what an ended process has left, in a process of its own.
 */
package dev.rejoin.android

import androidx.work.Configuration
import androidx.work.ListenableWorker.Result
import androidx.work.NetworkType
import androidx.work.WorkInfo
import androidx.work.WorkManager
import androidx.work.testing.SynchronousExecutor
import androidx.work.testing.TestListenableWorkerBuilder
import androidx.work.testing.WorkManagerTestInitHelper
import dev.rejoin.RejoinConfig
import dev.rejoin.SyncState
import org.junit.Assert.assertEquals
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import java.io.File
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

@RunWith(RobolectricTestRunner::class)
@Config(application = TodoApp::class)
class WorkerTest {
    private val todo: TodoApp get() = RuntimeEnvironment.getApplication() as TodoApp
    private val manager: WorkManager get() = WorkManager.getInstance(todo)

    @Before
    fun workManager() {
        WorkManagerTestInitHelper.initializeTestWorkManager(RuntimeEnvironment.getApplication(), Configuration.Builder().setExecutor(SynchronousExecutor()).build())
    }

    private fun works(): List<WorkInfo> = manager.getWorkInfosForUniqueWork("dev.rejoin.sync").get()

    private fun AndroidStory.providing(more: AndroidOptions.() -> Unit = {}) =
        server().also { server -> todo.make = { database(server, more = more) } }

    @Test
    fun `the worker sends what a killed process has written`() =
        androidStory {
            val server = providing()
            val file = File(app.noBackupFilesDir, "todo.db")
            writeAndDie(RejoinConfig(file.path, server = server.url, schema = server.schema))
            RejoinSyncWorker.schedule(app)
            val work = works().single()
            assertEquals(WorkInfo.State.ENQUEUED, work.state)
            assertEquals(NetworkType.CONNECTED, work.constraints.requiredNetworkType)
            WorkManagerTestInitHelper.getTestDriver(app)!!.setAllConstraintsMet(work.id)
            await({ "the end of the worker; it is ${works().single()}" }) { works().single().state.isFinished }
            assertEquals("${works().single().outputData}", WorkInfo.State.SUCCEEDED, works().single().state)
            assertEquals(listOf(listOf("written before the end")), server.rows("SELECT title FROM task"))
            // No activity was shown: the file is closed again.
            await({ "the rest" }) { todo.rejoin.status.value.state is SyncState.Suspended }
        }

    @Test
    fun `leaving with unsent mutations schedules the worker, once`() =
        androidStory {
            providing { lastPush = 0.seconds }
            val database = todo.rejoin
            repeat(2) { time ->
                enters()
                await({ "the sync" }) { database.status.value.state is SyncState.UpToDate }
                calls { database.withClient { it.sync.setNetwork(online = false) } }
                calls { database.execute("INSERT INTO task(id, title) VALUES (?, 'offline')", "t$time") }
                leaves()
                await({ "the rest" }) { database.status.value.state is SyncState.Suspended }
                await({ "the work" }) { works().size == 1 }
                calls { database.withClient { it.sync.setNetwork(online = true) } }
            }
            assertEquals(listOf(WorkInfo.State.ENQUEUED), works().map { it.state })
            RejoinSyncWorker.cancel(app)
            assertEquals(listOf(WorkInfo.State.CANCELLED), works().map { it.state })
        }

    @Test
    fun `without a server the worker runs again later`() =
        androidStory {
            val server = providing()
            calls { todo.rejoin.execute("INSERT INTO task(id, title) VALUES ('t1', 'waits')") }
            server.close()
            assertEquals(Result.retry(), calls { TestListenableWorkerBuilder<RejoinSyncWorker>(app).build().doWork() })
            assertEquals(1L, calls { todo.rejoin.withClient { it.queue.counts() } }.let { it.pending + it.sent + it.uncertain })
        }

    @Test
    fun `an error that time does not correct ends the work with its reason`() =
        androidStory {
            providing { schema = asset("schema.json") }
            val ended = calls { TestListenableWorkerBuilder<RejoinSyncWorker>(app).build().doWork() }
            val reason = (ended as Result.Failure).outputData.getString(RejoinSyncWorker.REASON)
            assertEquals("Configuration: asset schema.json: not in the app; put it into src/main/assets", reason)
        }

    @Test
    fun `periodic work keeps its period and its network`() =
        androidStory {
            providing()
            RejoinSyncWorker.scheduleEvery(app, 1.hours, NetworkType.UNMETERED)
            RejoinSyncWorker.scheduleEvery(app, 2.hours, NetworkType.UNMETERED)
            val work = manager.getWorkInfosForUniqueWork("dev.rejoin.sync.periodic").get().single()
            assertEquals(2.hours.inWholeMilliseconds, work.periodicityInfo?.repeatIntervalMillis)
            assertEquals(NetworkType.UNMETERED, work.constraints.requiredNetworkType)
        }

    @Test
    @Config(application = android.app.Application::class)
    fun `an application without a provider is named`() =
        androidStory {
            val plain = RuntimeEnvironment.getApplication()
            val ended = calls { TestListenableWorkerBuilder<RejoinSyncWorker>(plain).build().doWork() }
            val reason = (ended as Result.Failure).outputData.getString(RejoinSyncWorker.REASON)
            assertEquals("android.app.Application is not a RejoinProvider; implement it", reason)
        }
}
