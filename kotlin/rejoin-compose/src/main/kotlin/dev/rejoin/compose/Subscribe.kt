/*
 * A subscription to a stream as Compose state: subscribed while composed.
 */
package dev.rejoin.compose

import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.State
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberUpdatedState
import androidx.lifecycle.Lifecycle
import androidx.lifecycle.compose.LocalLifecycleOwner
import androidx.lifecycle.repeatOnLifecycle
import dev.rejoin.RejoinException
import dev.rejoin.StreamStatus
import dev.rejoin.StreamSubscription
import dev.rejoin.SyncState
import dev.rejoin.SyncedDatabase
import kotlinx.coroutines.flow.first
import kotlin.time.Duration

/**
 * Subscribes to the rows of a stream while composed, and returns whether they are here. When the composable leaves the
 * composition, the ttl of the subscription begins. See [dev.rejoin.SyncHandle.subscribe].
 *
 * The subscription begins when the lifecycle is first started, and then stays also while it is stopped; the status follows
 * while it is started. Works offline: the status is [StreamStatus.Waiting] until a sync returns one. A refused subscription is
 * a status.
 *
 * ```kotlin
 * val status by database.rememberSubscription("project", mapOf("project" to id))
 * if (status == StreamStatus.Loading) LinearProgressIndicator()
 * ```
 *
 * @param parameters the value of each parameter: a text, an integer or a UUID. With others it is another subscription.
 * @param ttl how long the rows stay after the composition. Default: 24 hours.
 * @param priority from 0 to 255; lower ones are loaded first. Default: 3.
 * @param onError gets the error if the subscription cannot be stored; the status then stays [StreamStatus.Waiting].
 */
@Composable
public fun SyncedDatabase.rememberSubscription(
    stream: String,
    parameters: Map<String, Any> = emptyMap(),
    ttl: Duration? = null,
    priority: Int? = null,
    onError: (RejoinException) -> Unit = {},
): State<StreamStatus> {
    val state = remember(this, stream, parameters, ttl, priority) { mutableStateOf<StreamStatus>(StreamStatus.Waiting) }
    val latest = rememberUpdatedState(onError)
    val lifecycle = LocalLifecycleOwner.current.lifecycle
    LaunchedEffect(state, lifecycle) {
        var held: StreamSubscription? = null
        try {
            lifecycle.repeatOnLifecycle(Lifecycle.State.STARTED) {
                unlessSuspended {
                    withClient { client ->
                        val subscription = held ?: client.sync.subscribe(stream, parameters, ttl, priority).also { held = it }
                        client.sync.watchSubscriptions().collect { state.value = subscription.status }
                    }
                }
            }
        } catch (error: RejoinException) {
            latest.value(error)
        } finally {
            held?.close()
        }
    }
    return state
}

/** Runs [block], again after each suspension of the database. */
private suspend fun SyncedDatabase.unlessSuspended(block: suspend () -> Unit) {
    while (true) {
        try {
            return block()
        } catch (_: RejoinException.Suspended) {
            status.first { it.state != SyncState.Suspended }
        }
    }
}
