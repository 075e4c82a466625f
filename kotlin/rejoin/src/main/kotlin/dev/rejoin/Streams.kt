/*
 * Subscriptions to streams: rows that the device holds only while the app subscribes to them. Sync.kt has the calls.
 *
 * The engine's thread only replaces the list that a collector has not taken yet.
 */
package dev.rejoin

import dev.rejoin.ffi.SubscriptionsObserver
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.SendChannel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.launch
import java.util.UUID
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Instant
import dev.rejoin.ffi.RefusalCode as FfiRefusalCode
import dev.rejoin.ffi.RejoinClient as FfiClient
import dev.rejoin.ffi.StreamStatus as FfiStreamStatus
import dev.rejoin.ffi.StreamSubscription as FfiStreamSubscription
import dev.rejoin.ffi.SubscribedStream as FfiSubscribedStream

/**
 * A subscription to a stream that the app holds: it does not expire. From [SyncHandle.subscribe].
 *
 * When the last one to the same rows is closed, its ttl begins. It does not keep the client open.
 *
 * @property stream the stream's name.
 * @property parameters the parameters by name, as texts.
 */
public class StreamSubscription internal constructor(
    private val ffi: FfiStreamSubscription,
    private val path: String,
    public val stream: String,
    public val parameters: Map<String, String>,
) : AutoCloseable {
    /**
     * Whether the rows are here; [SyncHandle.watchSubscriptions] reports changes. [StreamStatus.Waiting] also after [close] and
     * [unsubscribe], and after a reset of the file has removed the subscription.
     */
    public val status: StreamStatus get() = translated { ffi.status().toPublic() }

    /**
     * Waits until all rows are here; returns at once if they are. Starts syncing if it is stopped.
     *
     * @param timeout how long to wait, rounded up to whole milliseconds; zero does not wait. Default: until there is a network.
     * @throws RejoinException.SubscriptionRefused with the server's reason.
     * @throws RejoinException.Offline after [timeout].
     * @throws RejoinException.InvalidInput if [timeout] is negative, after [close] and [unsubscribe], or if a reset of the file has
     *   removed the subscription.
     */
    public suspend fun firstSync(timeout: Duration? = null) {
        refuseInside(path)
        crossing { ffi.firstSync(timeout.toTimeout()) }
    }

    /**
     * Ends the subscription now, unless the app holds another one to the same rows. While syncing runs, a pass begins, and the
     * rows leave the device; offline they leave with the next one. Edits of these rows that wait are sent first.
     *
     * Ending twice has no effect.
     *
     * @throws RejoinException.Suspended or another error of writing the file: then its ttl begins instead.
     */
    public suspend fun unsubscribe() {
        refuseInside(path)
        crossing { ffi.unsubscribe() }
    }

    /** The ttl begins, unless the app holds another subscription to the same rows. Closing twice has no effect. */
    override fun close(): Unit = translated { ffi.release() }
}

/** Whether the rows of a subscription are on the device. */
public sealed interface StreamStatus {
    /** No sync has returned its state yet. */
    public data object Waiting : StreamStatus

    /** Its rows are being fetched. */
    public data object Loading : StreamStatus

    /** All its rows are here, as of the last sync. Also after a restart and offline. */
    public data object Current : StreamStatus

    /**
     * The server refuses it; it brings no rows. Each sync tries it again.
     *
     * @property code why, for programs.
     * @property message why, for developers.
     */
    public data class Refused(val code: RefusalCode, val message: String) : StreamStatus
}

/** Why the server refuses a subscription. A later version may add codes: a `when` needs an `else`. */
public enum class RefusalCode {
    /** The server has no stream of this name. */
    UNKNOWN_STREAM,

    /** A parameter is missing, unknown, or no value of its type. */
    INVALID_PARAMETER,

    /** The user may not read these rows. */
    FORBIDDEN,

    /** The server's query for the right failed or returned several rows. */
    QUERY_FAILED,

    /** A reason of a later release of the server. */
    UNKNOWN,
}

/**
 * A subscription of the file. From [SyncHandle.subscriptions].
 *
 * @property stream the stream's name.
 * @property parameters the parameters by name, as texts.
 * @property priority lower ones are loaded first.
 * @property ttl how long it lasts after the app no longer holds it.
 * @property ends when it ends, by the device's clock; null while the app holds it.
 * @property status whether its rows are here.
 */
public data class SubscribedStream(
    val stream: String,
    val parameters: Map<String, String>,
    val priority: Int,
    val ttl: Duration,
    val ends: Instant?,
    val status: StreamStatus,
)

/** Begins the subscription of [SyncHandle.subscribe]. */
internal suspend fun RejoinClient.subscribed(
    stream: String,
    parameters: Map<String, Any>,
    ttl: Duration?,
    priority: Int?,
): StreamSubscription {
    refuseInside(path)
    val texts = parameters.mapValues { (name, value) -> value.toParameter(name) }
    if (ttl != null && ttl.isNegative()) throw RejoinException.InvalidInput("a ttl of $ttl is below zero; zero ends at once")
    if (priority != null && priority !in 0..255) throw RejoinException.InvalidInput("a priority of $priority is not between 0 and 255")
    val ttlMs = ttl?.inWholeMilliseconds
    val held = crossing(FfiStreamSubscription::destroy) { ffi.subscribe(stream, texts, ttlMs, priority?.toUByte()) }
    return StreamSubscription(held, path, stream, texts)
}

private fun Any.toParameter(name: String): String =
    when (this) {
        is String -> this
        is Long, is Int, is Short, is Byte, is UUID -> toString()
        else -> throw RejoinException.InvalidInput("parameter $name is a ${this::class.simpleName}; give a String, a Long, an Int or a UUID")
    }

/** The flow of [SyncHandle.watchSubscriptions]. */
internal fun FfiClient.changingSubscriptions(): Flow<List<SubscribedStream>> =
    channelFlow {
        val lists = Channel<List<SubscribedStream>>(Channel.CONFLATED)
        val subscription = translated { onSubscriptions(SubscriptionsRelay(lists)) }
        try {
            // The engine does not notify observers of its end.
            launch { awaitEnd() }.invokeOnCompletion { lists.close() }
            for (list in lists) send(list)
        } finally {
            subscription.cancel()
            subscription.destroy()
        }
    }.buffer(Channel.RENDEZVOUS)

/** Keeps the latest list for the collector. */
private class SubscriptionsRelay(private val lists: SendChannel<List<SubscribedStream>>) : SubscriptionsObserver {
    override fun onSubscriptions(subscriptions: List<FfiSubscribedStream>) {
        lists.trySend(subscriptions.map { it.toPublic() })
    }
}

internal fun FfiSubscribedStream.toPublic(): SubscribedStream =
    SubscribedStream(
        stream = stream,
        parameters = parameters,
        priority = priority.toInt(),
        ttl = ttlMs.milliseconds,
        ends = endsMs?.let(Instant::fromEpochMilliseconds),
        status = status.toPublic(),
    )

private fun FfiStreamStatus.toPublic(): StreamStatus =
    when (this) {
        is FfiStreamStatus.Waiting -> StreamStatus.Waiting
        is FfiStreamStatus.Loading -> StreamStatus.Loading
        is FfiStreamStatus.Current -> StreamStatus.Current
        is FfiStreamStatus.Refused -> StreamStatus.Refused(code.toPublic(), message)
    }

internal fun FfiRefusalCode.toPublic(): RefusalCode =
    when (this) {
        FfiRefusalCode.UNKNOWN_STREAM -> RefusalCode.UNKNOWN_STREAM
        FfiRefusalCode.INVALID_PARAMETER -> RefusalCode.INVALID_PARAMETER
        FfiRefusalCode.FORBIDDEN -> RefusalCode.FORBIDDEN
        FfiRefusalCode.QUERY_FAILED -> RefusalCode.QUERY_FAILED
        FfiRefusalCode.UNKNOWN -> RefusalCode.UNKNOWN
    }

internal fun RefusalCode.toFfi(): FfiRefusalCode =
    when (this) {
        RefusalCode.UNKNOWN_STREAM -> FfiRefusalCode.UNKNOWN_STREAM
        RefusalCode.INVALID_PARAMETER -> FfiRefusalCode.INVALID_PARAMETER
        RefusalCode.FORBIDDEN -> FfiRefusalCode.FORBIDDEN
        RefusalCode.QUERY_FAILED -> FfiRefusalCode.QUERY_FAILED
        RefusalCode.UNKNOWN -> FfiRefusalCode.UNKNOWN
    }
