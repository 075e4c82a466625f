/*
 * Syncing beyond start and stop: sync now and wait, subscribe to streams, report the network and the app's state. SyncStatus.kt
 * and Streams.kt have the values.
 */
package dev.rejoin

import kotlinx.coroutines.flow.Flow
import kotlin.time.Duration

/** Syncing beyond [RejoinClient.start] and [RejoinClient.stop]. From [RejoinClient.sync]. */
public class SyncHandle internal constructor(private val client: RejoinClient) {
    /** Syncs now, regardless of the metered policy; the status reports the result. Starts syncing if it is stopped. */
    public suspend fun request(): Unit = client.writing { it.syncNow() }

    /**
     * Pushes and pulls everything and waits: afterwards each mutation pending at the call has its verdict, and all changes
     * of the server are applied. Starts syncing if it is stopped.
     *
     * A parked mutation is not an exception: the report counts it.
     *
     * @param timeout how long to wait, rounded up to whole milliseconds; zero does not wait.
     * @throws RejoinException.Offline after one attempt without a server, and after [timeout]; the work continues in the
     *   background.
     * @throws RejoinException.InvalidInput if [timeout] is negative.
     */
    public suspend fun run(timeout: Duration? = null): SyncReport =
        client.writing { it.syncAndWait(timeout.toTimeout()) }.toPublic()

    /**
     * Syncs, compares the rows of each synced table with the server's, and fetches again those that differ. Pending
     * mutations stay. Starts syncing if it is stopped.
     *
     * Digests are compared first, so a sound file costs about 45 bytes for every thousand rows.
     *
     * @param timeout as for [run].
     * @throws RejoinException as [run]; offline, the check is done by a later sync, and the next call returns a new
     *   report.
     * @throws RejoinException.InvalidInput if the server has no digests, as a Synchro server.
     */
    public suspend fun doctor(timeout: Duration? = null): DoctorReport =
        client.writing { it.doctor(timeout.toTimeout()) }.toPublic()

    /**
     * Fetches all rows of the synced tables again and waits. Pending mutations stay; rows that the server does not have are
     * removed when all are here. [doctor] finds out whether this is necessary, and fetches less.
     *
     * @param timeout as for [run].
     * @throws RejoinException as [run]; the rows are then fetched by a later sync.
     */
    public suspend fun resync(timeout: Duration? = null): SyncReport =
        client.writing { it.resync(timeout.toTimeout()) }.toPublic()

    /**
     * Waits until the first sync is complete; returns at once if it is. Starts syncing if it is stopped.
     *
     * @throws RejoinException.Offline after [timeout]; without a timeout it waits for a network.
     * @throws RejoinException.InvalidInput if [timeout] is negative.
     */
    public suspend fun firstSync(timeout: Duration? = null): Unit = client.writing { it.waitForFirstSync(timeout.toTimeout()) }

    /**
     * Subscribes to the rows of a stream of the server, which [parameters] select.
     *
     * ```kotlin
     * val project = client.sync.subscribe("project", mapOf("project" to 42), ttl = 24.hours, priority = 1)
     * project.firstSync()
     * // When the screen is closed:
     * project.close()
     * ```
     *
     * The subscription is stored in the file and survives a restart. Offline it is stored too, and the rows come with the next
     * sync; while syncing runs, that begins now. The app holds it until [StreamSubscription.close]. A second subscription to the
     * same rows is the same one, with the longer ttl and the lower priority.
     *
     * A server without streams, or a Synchro server, refuses it: its status is [StreamStatus.Refused] after the next sync.
     *
     * @param parameters the value of each parameter: a text, an integer or a [java.util.UUID].
     * @param ttl how long it lasts after the app no longer holds it, by the device's clock; then the rows leave the device.
     *   Default: 24 hours.
     * @param priority from 0 to 255; lower ones are loaded first. Default: 3.
     * @throws RejoinException.InvalidInput for a value of another type, a negative [ttl], an empty name, or more subscriptions than
     *   a device can send; nothing was changed.
     */
    public suspend fun subscribe(
        stream: String,
        parameters: Map<String, Any> = emptyMap(),
        ttl: Duration? = null,
        priority: Int? = null,
    ): StreamSubscription = client.subscribed(stream, parameters, ttl, priority)

    /**
     * The subscriptions of the file, by priority: those that the app holds, and those whose ttl runs. Works offline, and while
     * suspended.
     */
    public val subscriptions: List<SubscribedStream> get() = translated { client.ffi.subscriptions() }.map { it.toPublic() }

    /**
     * The subscriptions now, and after each change, such as of a status. A slow collector gets only the latest list. Completes
     * when the client is shut down. The next sync reports the end of a ttl.
     */
    public fun watchSubscriptions(): Flow<List<SubscribedStream>> = client.ffi.changingSubscriptions()

    /** Reports the state of the network: whether there is one, and whether it is metered. Going online triggers a sync. */
    public fun setNetwork(online: Boolean, metered: Boolean = false): Unit =
        translated { client.ffi.setNetwork(online, metered) }

    /** Reports that the app came to the foreground. Triggers a sync, unless the server asked to wait. */
    public fun foreground(): Unit = translated { client.ffi.foreground() }

    /** Reports that the token provider has new credentials; requests that failed without them are retried. */
    public suspend fun credentialsChanged(): Unit = client.writing { it.credentialsChanged() }

    /**
     * Releases the file, as iOS requires of an app in the background: rolls back open transactions, closes all
     * connections and drops all locks. No committed data is lost; calls throw [RejoinException.Suspended] until
     * [resume].
     *
     * @throws RejoinException.InvalidInput inside this client's own transaction.
     */
    public suspend fun suspend(): Unit = client.writing { it.suspend() }

    /**
     * Reopens the file after [suspend]. Each watched query runs once to pick up missed changes.
     *
     * @throws RejoinException as [RejoinClient.open]; then the client stays suspended.
     */
    public suspend fun resume(): Unit = client.writing { it.resume() }
}
