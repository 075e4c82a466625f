/*
 * The sync status and the length of the queue as Compose state, collected only while the lifecycle is started.
 */
package dev.rejoin.compose

import androidx.compose.runtime.Composable
import androidx.compose.runtime.State
import androidx.compose.runtime.remember
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import dev.rejoin.Change
import dev.rejoin.PendingCounts
import dev.rejoin.RejoinDatabase
import dev.rejoin.RejoinException
import dev.rejoin.SyncStatus
import dev.rejoin.SyncedDatabase
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.filter
import kotlinx.coroutines.flow.mapNotNull
import kotlinx.coroutines.launch

/** The current sync status and its changes, while the lifecycle is at least started. */
@Composable
public fun RejoinDatabase.rememberSyncStatus(): State<SyncStatus> = status.collectAsStateWithLifecycle()

/** The number of mutations in each state and its changes, while the lifecycle is at least started; zeros at first. */
@Composable
public fun SyncedDatabase.rememberPendingCounts(): State<PendingCounts> =
    remember(this) { pendingCounts() }.collectAsStateWithLifecycle(PendingCounts(pending = 0, sent = 0, uncertain = 0, parked = 0))

private fun SyncedDatabase.pendingCounts(): Flow<PendingCounts> =
    nowAndAfter { it.queue }
        .mapNotNull {
            try {
                withClient { it.queue.counts() }
            } catch (_: RejoinException) {
                null // Suspended or shut down: the last counts stay.
            }
        }.catch { error -> if (error !is RejoinException) throw error }

/** Emits at once, and after each change that [concerns] the collector; a slow collector gets one signal for several changes. */
internal fun RejoinDatabase.nowAndAfter(concerns: (Change) -> Boolean): Flow<Unit> =
    channelFlow {
        // Unconfined: the subscription exists before the first signal, so no change between the two is missed. It only
        // forwards, so it may run on the engine's thread.
        launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
            changes().filter { concerns(it) }.collect { send(Unit) }
        }
        send(Unit)
    }.conflate()
