/*
 * The queue: what waits for the server, the app's decisions, verdicts, and the history of accepted mutations.
 *
 * Everything except waiting for a verdict works offline and is in the file when the call returns. docs/verdicts.md
 * explains the choices. The values are in Pending.kt, Verdicts.kt and History.kt.
 */
package dev.rejoin

import kotlinx.coroutines.flow.Flow
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.serializer
import kotlin.time.Duration

/** The queue: waiting and parked mutations, verdicts, and the history of accepted mutations. From [RejoinClient.queue]. */
public class QueueHandle internal constructor(private val client: RejoinClient) {
    /**
     * Returns all mutations that the server has not accepted, in the order in which they were written.
     *
     * Reads from the file, so the list is complete after a crash.
     */
    public suspend fun all(): List<PendingMutation> = client.writing { it.pending() }.map { it.toPublic() }

    /** Those of [all] that wait for the server: pending, sent and uncertain. */
    public suspend fun pending(): List<PendingMutation> = all().filter { it.state != MutationState.PARKED }

    /** Those of [all] that wait for a decision of the app. */
    public suspend fun parked(): List<PendingMutation> = all().filter { it.state == MutationState.PARKED }

    /** Returns the number of mutations in each state; cheap. */
    public suspend fun counts(): PendingCounts = client.writing { it.pendingCounts() }.toPublic()

    /**
     * Returns the sync state of a row. For a list use the SQL function `rejoin_row_state('table', id)` in the query.
     *
     * @param key the row's key, of a type that SQLite can store (see [Statement]).
     * @throws RejoinException.InvalidInput if the table is not synced.
     */
    public suspend fun rowState(table: String, key: Any): RowSyncState =
        client.writing { it.rowSyncState(table, key.toSql { "key" }) }.toPublic()

    /**
     * Retries a parked mutation unchanged: it moves to the end of the queue, its rows show it at once, and it is compared
     * with the current values. This resolves a conflict in favour of the mutation.
     *
     * @param id the mutation's id, from [all].
     * @throws RejoinException.InvalidInput if there is no mutation with this id, or it is not parked; nothing was
     *   changed.
     * @throws RejoinException.ParentParked while the mutation that creates its row is parked; nothing was changed.
     */
    public suspend fun retry(id: String): Unit = client.writing { it.retry(id) }

    /**
     * Retries a mutation, if it is parked, and all mutations parked because of it, in their order. Returns their ids.
     *
     * ```kotlin
     * client.queue.edit(id, listOf(Statement("UPDATE task SET title = ?", "good")))?.let { client.queue.retryChain(it) }
     * ```
     *
     * @throws RejoinException as [retry].
     */
    public suspend fun retryChain(id: String): List<String> = client.writing { it.retryChain(id) }

    /**
     * Replaces a parked or waiting mutation in one call to the engine. [statements] run on the current rows with the
     * mutation's writes applied. The result is a new plain SQL mutation at the end of the queue that replaces the old
     * one. For actions prefer [performAgain].
     *
     * Mutations parked because of the old one now wait for the new one: pass its id to [retryChain] to retry them.
     *
     * @param id the mutation's id, from [all].
     * @return the new mutation's id; null if no change is left.
     * @throws RejoinException as [RejoinClient.batch], and [RejoinException.InvalidInput] if there is no mutation with
     *   this id or the server cannot withdraw what was sent. Then nothing was changed.
     */
    public suspend fun edit(id: String, statements: List<Statement>): String? =
        client.writing { it.edit(id, statements.map(Statement::toFfi)) }

    /**
     * As the other [edit], with a transaction whose body may wait. It starts with the mutation's writes applied to the
     * current rows. If [body] throws or the coroutine is cancelled, nothing is changed.
     *
     * ```kotlin
     * val edited = client.queue.edit(refused.id) { tx ->
     *     val title = tx.query("SELECT title FROM task WHERE id = ?", id) { it.string(0) }.single()
     *     tx.execute("UPDATE task SET title = ? WHERE id = ?", ask(title), id)
     * }
     * ```
     *
     * @throws RejoinException as the other [edit], and as [RejoinClient.transaction].
     */
    public suspend fun edit(id: String, body: suspend (Transaction) -> Unit): String? =
        client.holding({ client.ffi.beginEdit(id) }) { tx ->
            tx.run(body)
            tx.edited()
        }

    /**
     * Replaces a parked or waiting action: its writes are removed from the rows, and the newest version of the action is
     * performed with these arguments on the current rows. The result is a new mutation at the end of the queue; there is
     * none if nothing is written. The replacement is atomic, also across a crash.
     *
     * Mutations parked because of the old one now wait for the new one: pass its id to [retryChain] to retry them. If the
     * coroutine is cancelled while it waits, the call may still take effect.
     *
     * ```kotlin
     * val replaced = client.queue.performAgain(parked.id, "id" to "nails", "n" to 1)
     * replaced.id?.let { client.queue.retryChain(it) }
     * ```
     *
     * @param id the mutation's id, from [all].
     * @param arguments all arguments of the action, as for [RejoinClient.perform].
     * @throws RejoinException as [RejoinClient.perform], and [RejoinException.InvalidInput] if there is no mutation with
     *   this id, it is not an action, or the server cannot withdraw what was sent. Then nothing was changed.
     */
    public suspend fun performAgain(id: String, vararg arguments: Pair<String, Any?>): Performed = performAgain(id, arguments.toMap())

    /** As the other [performAgain], with the arguments as a map. */
    public suspend fun performAgain(id: String, arguments: Map<String, Any?>): Performed =
        client.performing(arguments.toJson { "the arguments of mutation $id" }) { client.ffi.performAgain(id, it) }

    /** As the other [performAgain], with the arguments as a serializable class whose properties are the parameters. */
    public suspend inline fun <reified A : Any> performAgain(id: String, arguments: A): Performed =
        performAgain(id, serializer<A>(), arguments)

    /** As the other [performAgain], with the arguments as [serializer] writes them. */
    public suspend fun <A> performAgain(id: String, serializer: SerializationStrategy<A>, arguments: A): Performed =
        client.performing(arguments.toJson(serializer) { "the arguments of mutation $id" }) { client.ffi.performAgain(id, it) }

    /**
     * Discards a waiting or parked mutation: its writes are removed from the rows. If it was sent and has no verdict, it
     * is also withdrawn from the server. Mutations that depend on a row that it created are parked.
     *
     * @param id the mutation's id, from [all].
     * @throws RejoinException.InvalidInput if there is no mutation with this id, or it was sent, has no verdict, and the
     *   server's version cannot withdraw it; nothing was changed.
     */
    public suspend fun discard(id: String): Unit = client.writing { it.discard(id) }

    /**
     * Discards a mutation and all mutations that depend on a row that it created. Returns their ids, the given one first.
     *
     * @throws RejoinException as [discard].
     */
    public suspend fun discardChain(id: String): List<String> = client.writing { it.discardChain(id) }

    /**
     * Waits until the server's verdict on a mutation of [pending] has arrived and is visible. Starts syncing if it is
     * stopped.
     *
     * @param id the mutation's id, from [all].
     * @throws RejoinException.Offline after [timeout]; without a timeout it waits for a network. The mutation keeps its
     *   state.
     * @throws RejoinException.InvalidInput if [timeout] is negative.
     */
    public suspend fun verdict(id: String, timeout: Duration? = null): Verdict =
        client.writing { it.verdict(id, timeout.toTimeout()) }.toPublic()

    /**
     * Returns up to [limit] verdicts that the app has not acknowledged, oldest first. Each attempt that ended has one
     * entry. It is stored in the file when it arrives, so no crash or restart loses it.
     *
     * @throws RejoinException.InvalidInput if [limit] is negative.
     */
    public suspend fun verdicts(limit: Int): Verdicts = client.writing { it.verdicts(limit.toLimit()) }.toPublic()

    /** Acknowledges the verdicts up to this number; they are not reported again. */
    public suspend fun acknowledgeVerdicts(through: Long): Unit = client.writing { it.acknowledgeVerdicts(through) }

    /**
     * The unacknowledged verdicts, then new ones as they arrive, each once per collector.
     *
     * The flow is cold. Unacknowledged verdicts are reported again to the next collector and after a restart
     * (at-least-once). The flow completes when the client is shut down and pauses while it is suspended. A collector's
     * exception ends only its own flow.
     *
     * ```kotlin
     * client.queue.watchVerdicts().collect { news ->
     *     for (verdict in news.entries) if (verdict.kind == VerdictKind.PARKED) show(verdict)
     *     client.queue.acknowledgeVerdicts(news.entries.last().number)
     * }
     * ```
     */
    public fun watchVerdicts(): Flow<Verdicts> = client.ffi.arrivingVerdicts()

    /**
     * Returns up to [limit] accepted mutations that are still in the history, newest first. Accepted
     * entries of the log are listed until they are folded into the base.
     *
     * @throws RejoinException.InvalidInput if [limit] is negative.
     */
    public suspend fun history(limit: Int = 100): List<AcceptedMutation> =
        client.writing { it.history(limit.toLimit()) }.map { it.toPublic() }

    /**
     * Undoes a mutation. Without a verdict it is discarded, as by [discard]. If it was accepted, a new compare-only
     * mutation restores the server's previous value of each column. Atomic.
     *
     * @throws RejoinException.Changed with the rows, if any of them was changed since; nothing was changed.
     * @throws RejoinException.InvalidInput if the mutation is no longer in the history, or is parked (a parked mutation
     *   has no effect on rows).
     */
    public suspend fun undo(id: String): Undone = client.writing { it.undo(id) }.toPublic()

    /**
     * Reverts the undo of a mutation.
     *
     * @param id the mutation that was undone.
     * @throws RejoinException.InvalidInput if it was not undone, or was already redone.
     * @throws RejoinException.Changed as [undo].
     */
    public suspend fun redo(id: String): Undone = client.writing { it.redo(id) }.toPublic()

    /**
     * Deletes history entries beyond these limits at once and returns how many. They can no longer be undone. Without
     * this call the default limits are applied after each verdict.
     *
     * @throws RejoinException.InvalidInput if a limit is negative.
     */
    public suspend fun prune(bounds: HistoryBounds): Long {
        val limits = bounds.toFfi()
        return client.writing { it.prune(limits) }.toLong()
    }
}

/** Converts a maximum count for the engine. */
private fun Int.toLimit(): UInt {
    if (this < 0) throw RejoinException.InvalidInput("the limit $this is negative")
    return toUInt()
}
