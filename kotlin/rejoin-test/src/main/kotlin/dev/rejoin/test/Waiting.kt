/*
 * Waiting in tests: for the rows of a watched query, for a completed sync, and for a parked mutation.
 *
 * Timeouts are in real time, also inside `runTest`: the engine has its own threads, which no virtual clock controls. A
 * failed wait is an AssertionError that names what was awaited and the last state.
 */
package dev.rejoin.test

import app.cash.turbine.ReceiveTurbine
import app.cash.turbine.test
import dev.rejoin.MutationState
import dev.rejoin.PendingMutation
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinDatabase
import dev.rejoin.RejoinException
import dev.rejoin.RowBuffer
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource

/** The default timeout. */
private val TIMEOUT = 10.seconds

/** Pause between two attempts. */
private val PAUSE = 20.milliseconds

/** The results of a watched query; see [testWatch]. */
public class WatchTurbine internal constructor(
    private val sql: String,
    private val timeout: Duration,
    private val turbine: ReceiveTurbine<RowBuffer>,
) {
    private var last: RowBuffer? = null

    /** Returns the next result. A watch skips results that a newer one replaces: to wait for a state use the other [awaitRows]. */
    public suspend fun awaitRows(): RowBuffer = awaitRows("a result") { true }

    /**
     * Returns the first result, from the next one on, for which [until] is true.
     *
     * @param what what is awaited, for the error.
     * @throws AssertionError after the timeout of [testWatch], or if the watch ends; with the last result.
     */
    public suspend fun awaitRows(what: String, until: (RowBuffer) -> Boolean): RowBuffer {
        val start = TimeSource.Monotonic.markNow()
        while (start.elapsedNow() < timeout) {
            val rows =
                try {
                    turbine.awaitItem()
                } catch (none: AssertionError) {
                    throw AssertionError("${text(what)}: ${none.message}", none)
                }
            last = rows
            if (until(rows)) return rows
        }
        throw AssertionError(text(what))
    }

    private fun text(what: String) = "$sql: expected $what within $timeout; last result: ${last?.toList() ?: "none"}"
}

/**
 * Watches a query while [body] runs, with Turbine.
 *
 * ```kotlin
 * client.testWatch("SELECT title FROM task WHERE done = ?", false) {
 *     assertTrue(awaitRows().isEmpty())
 *     tasks.add("buy milk")
 *     awaitRows("the new task") { rows -> rows.map { it.string(0) } == listOf("buy milk") }
 * }
 * ```
 *
 * @param timeout how long each `awaitRows` waits.
 * @throws AssertionError if the query fails and [body] did not expect it.
 */
public suspend fun RejoinDatabase.testWatch(
    sql: String,
    vararg params: Any?,
    timeout: Duration = TIMEOUT,
    body: suspend WatchTurbine.() -> Unit,
): Unit =
    watch(sql, *params).test(timeout, name = sql) {
        WatchTurbine(sql, timeout, this).body()
        cancelAndIgnoreRemainingEvents()
    }

/**
 * Syncs until everything is pushed and pulled: a pass that began after the call has completed, and no mutation waits.
 * Parked mutations do not count. Starts syncing if it is stopped, and tries again while the server is unreachable, rejects
 * the credentials or fails.
 *
 * @throws AssertionError after [timeout], with the last status, the last error and the waiting mutations.
 * @throws RejoinException.InvalidInput without a configured server.
 */
public suspend fun RejoinClient.awaitUpToDate(timeout: Duration = TIMEOUT) {
    syncUntil("everything is pushed and pulled", timeout) { synced ->
        Unit.takeIf { synced && queue.counts().run { pending + sent + uncertain } == 0L }
    }
}

/**
 * Syncs until a mutation is parked, and returns the first one in the queue.
 *
 * ```kotlin
 * server.reject("task", "too long")
 * tasks.add("buy milk")
 * assertEquals(ParkReason.REJECTED, client.awaitParked().reason)
 * ```
 *
 * @throws AssertionError after [timeout], as [awaitUpToDate].
 * @throws RejoinException.InvalidInput without a configured server.
 */
public suspend fun RejoinClient.awaitParked(timeout: Duration = TIMEOUT): PendingMutation =
    syncUntil("a mutation is parked", timeout) { queue.all().firstOrNull { it.state == MutationState.PARKED } }

/** Syncs and calls [read], which gets whether the pass was complete, until it returns a value. */
private suspend fun <T : Any> RejoinClient.syncUntil(what: String, timeout: Duration, read: suspend (Boolean) -> T?): T {
    var last: RejoinException? = null
    val found =
        real(timeout) {
            var found: T? = null
            while (found == null) {
                last = attempt(timeout)
                found = read(last == null) ?: null.also { delay(PAUSE) }
            }
            found
        }
    val waiting = queue.all().map { "${it.state} ${it.action ?: it.rows.map { row -> "${row.operation} ${row.table} ${row.key}" }}" }
    return found ?: throw AssertionError("waited $timeout until $what; status: ${status.value.state}; last error: $last; queue: $waiting", last)
}

/** One pass; returns the error that another attempt may not have. */
private suspend fun RejoinClient.attempt(timeout: Duration): RejoinException? =
    try {
        sync.run(timeout)
        null
    } catch (why: RejoinException.Offline) {
        why
    } catch (why: RejoinException.Unauthorized) {
        why
    } catch (why: RejoinException.Server) {
        why
    }

/** Null after [timeout] of real time. */
private suspend fun <T : Any> real(timeout: Duration, body: suspend () -> T): T? =
    withContext(Dispatchers.Default) { withTimeoutOrNull(timeout) { body() } }
