/*
 * Syncs while the app is not visible, also in a process that WorkManager has started for it.
 */
package dev.rejoin.android

import android.content.Context
import androidx.work.BackoffPolicy
import androidx.work.Constraints
import androidx.work.CoroutineWorker
import androidx.work.ExistingPeriodicWorkPolicy
import androidx.work.ExistingWorkPolicy
import androidx.work.NetworkType
import androidx.work.OneTimeWorkRequestBuilder
import androidx.work.PeriodicWorkRequestBuilder
import androidx.work.WorkManager
import androidx.work.WorkRequest
import androidx.work.WorkerParameters
import androidx.work.workDataOf
import dev.rejoin.RejoinException
import java.util.concurrent.TimeUnit.MILLISECONDS
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

/**
 * Opens the app's database, syncs, and lets it rest again. The `Application` must be a [RejoinProvider].
 *
 * It succeeds when everything is pushed and pulled; parked mutations wait for the app, not for the worker. Without a server or
 * with unsent mutations left, WorkManager runs it again later, after 30 s, 60 s, 120 s and so on. An error that time does
 * not correct is a failure, with the reason in its output under [REASON]. No edit is lost in any case.
 */
public class RejoinSyncWorker(context: Context, parameters: WorkerParameters) : CoroutineWorker(context, parameters) {
    override suspend fun doWork(): Result {
        val app = applicationContext as? RejoinProvider ?: return failure("${applicationContext.javaClass.name} is not a RejoinProvider; implement it")
        return try {
            val report = app.rejoin.withClient { it.sync.run(LIMIT) }
            if (report.stillPending == 0L) Result.success() else Result.retry()
        } catch (_: RejoinException.Offline) {
            Result.retry()
        } catch (_: RejoinException.Server) {
            Result.retry()
        } catch (error: RejoinException) {
            failure("${error.code}: ${error.reason}")
        }
    }

    private fun failure(reason: String): Result = Result.failure(workDataOf(REASON to reason))

    public companion object {
        /** The key of a failure's reason in the worker's output. */
        public const val REASON: String = "reason"

        /** WorkManager stops a worker after ten minutes. */
        private val LIMIT = 9.minutes

        private val FIRST_DELAY = 30.seconds

        /**
         * Schedules one sync as soon as there is a network of this [type]. If one is scheduled already, it stays.
         *
         * `Rejoin.android` calls it when the app goes to the background with unsent mutations.
         */
        public fun schedule(context: Context, type: NetworkType = NetworkType.CONNECTED) {
            val request = OneTimeWorkRequestBuilder<RejoinSyncWorker>().waitingFor(type).build()
            WorkManager.getInstance(context).enqueueUniqueWork("dev.rejoin.sync", ExistingWorkPolicy.KEEP, request)
        }

        /** Schedules a sync in each period of [every]; Android's minimum is 15 minutes. A second call replaces the first. */
        public fun scheduleEvery(context: Context, every: Duration, type: NetworkType = NetworkType.CONNECTED) {
            val request = PeriodicWorkRequestBuilder<RejoinSyncWorker>(every.inWholeMilliseconds, MILLISECONDS).waitingFor(type).build()
            WorkManager.getInstance(context).enqueueUniquePeriodicWork("dev.rejoin.sync.periodic", ExistingPeriodicWorkPolicy.UPDATE, request)
        }

        /** Cancels what [schedule] and [scheduleEvery] have scheduled, for example when the user signs out. */
        public fun cancel(context: Context) {
            for (name in listOf("dev.rejoin.sync", "dev.rejoin.sync.periodic")) WorkManager.getInstance(context).cancelUniqueWork(name)
        }

        private fun <B : WorkRequest.Builder<B, *>> B.waitingFor(type: NetworkType): B =
            setConstraints(Constraints.Builder().setRequiredNetworkType(type).build())
                .setBackoffCriteria(BackoffPolicy.EXPONENTIAL, FIRST_DELAY.inWholeMilliseconds, MILLISECONDS)
    }
}
