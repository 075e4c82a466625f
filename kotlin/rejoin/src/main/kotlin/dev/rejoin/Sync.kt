/*
 * Syncing beyond start and stop: sync now and wait, report the network and the app's state. SyncStatus.kt has the values.
 */
package dev.rejoin

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
