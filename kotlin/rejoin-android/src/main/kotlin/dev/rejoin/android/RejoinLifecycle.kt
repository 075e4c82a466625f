/*
 * Closes the file while the app is in the background, and opens it again for each call that needs it.
 *
 * The decision is in one place, `settle`: it compares what should be with what is, under a lock. So the order in which
 * starts, stops and calls arrive does not matter, and a write under way is never cut off.
 */
package dev.rejoin.android

import androidx.lifecycle.DefaultLifecycleObserver
import androidx.lifecycle.Lifecycle
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.ProcessLifecycleOwner
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.SyncState
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/**
 * Follows the lifecycle of the process, for a [RejoinClient] that the app opened itself; [android] has it built in.
 *
 * When the app goes to the background (`ON_STOP`), unsent mutations are pushed once, for at most [lastPush]; then the client
 * is suspended: the file is closed and no network is used. When it comes back (`ON_START`), the client is resumed and syncs.
 * A call inside [hold] resumes the client and keeps it open; a call outside of it throws
 * [RejoinException.Suspended] in the background.
 *
 * @param lastPush how long the last push may take; zero omits it. Android gives an app some seconds.
 * @param owner the lifecycle. Default: that of the process.
 * @param scope runs the work.
 * @param onUnsent called if mutations are still unsent after the last push, for example to schedule [RejoinSyncWorker].
 */
public class RejoinLifecycle(
    private val client: RejoinClient,
    private val lastPush: Duration = 5.seconds,
    private val owner: LifecycleOwner = ProcessLifecycleOwner.get(),
    private val scope: CoroutineScope = CoroutineScope(SupervisorJob() + Dispatchers.Default),
    private val onUnsent: () -> Unit = {},
) : AutoCloseable {
    private val lock = Mutex()

    @Volatile
    private var isForeground = false
    private var holds = 0
    private var isSuspended = false
    private var leaving: Job? = null

    private val observer =
        object : DefaultLifecycleObserver {
            override fun onStart(owner: LifecycleOwner) = moved(toForeground = true)

            override fun onStop(owner: LifecycleOwner) = moved(toForeground = false)
        }

    init {
        // An observer may be added on the main thread only; it then gets the events up to the current state.
        scope.launch(Dispatchers.Main) { owner.lifecycle.addObserver(observer) }
    }

    /** Runs [block] with the file open, whatever the app's state is. */
    public suspend fun <T> hold(block: suspend () -> T): T {
        lock.withLock {
            holds += 1
            try {
                settle()
            } catch (error: Throwable) {
                holds -= 1
                throw error
            }
        }
        try {
            return block()
        } finally {
            withContext(NonCancellable) { lock.withLock { holds -= 1 } }
            if (!isForeground) scope.launch { rest() }
        }
    }

    /** Stops following; the client stays as it is. */
    override fun close() {
        // The scope may be at its end.
        CoroutineScope(Dispatchers.Main).launch { owner.lifecycle.removeObserver(observer) }
    }

    /** Events arrive on the main thread, in order; their work is started in order. */
    private fun moved(toForeground: Boolean) {
        val earlier = leaving
        leaving =
            scope.launch {
                earlier?.cancelAndJoin()
                lock.withLock { isForeground = toForeground }
                if (toForeground) rest() else pushLast()
            }
    }

    /** Brings the client to the state that is needed; what fails is tried again by the next call. */
    private suspend fun rest() {
        try {
            lock.withLock { settle() }
        } catch (_: RejoinException) {
            // `hold` reports it.
        }
    }

    /** Pushes what is unsent, unless the app has stopped syncing; then the client rests. */
    private suspend fun pushLast() {
        try {
            // Held: a call that ends meanwhile does not suspend the client.
            hold {
                val state = client.status.value.state
                if (state == SyncState.Idle || state == SyncState.Stopped || client.unsent() == 0L) return@hold
                if (lastPush > Duration.ZERO) client.pushFor(lastPush)
                if (client.unsent() > 0) onUnsent()
            }
        } catch (_: RejoinException) {
            // The client was shut down or suspended by the app meanwhile.
        }
    }

    /** Suspends or resumes if the state is not the one that is needed. Under the lock. */
    private suspend fun settle() {
        val isNeeded = isForeground || holds > 0
        if (isNeeded == !isSuspended) return
        // The engine does not stop if the caller is cancelled: without its end the state is not known.
        withContext(NonCancellable) {
            if (isNeeded) client.sync.resume() else client.sync.suspend()
            isSuspended = !isNeeded
        }
        if (isForeground) client.sync.foreground()
    }
}

private suspend fun RejoinClient.pushFor(time: Duration) {
    try {
        sync.run(time)
    } catch (_: RejoinException.Offline) {
        // The mutations stay in the queue.
    }
}

/** The number of mutations that the server has not answered. */
private suspend fun RejoinClient.unsent(): Long = queue.counts().let { it.pending + it.sent + it.uncertain }
