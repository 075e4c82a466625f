/*
 * Watched queries as flows.
 *
 * The flow pulls: it requests the next result when the collector is ready. So there is no buffer and no callback across
 * the FFI boundary, and a slow collector gets only the latest result.
 */
package dev.rejoin

import dev.rejoin.ffi.QueryWatch
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext
import dev.rejoin.ffi.WatchUpdate as FfiWatchUpdate

/**
 * The rows of a query now, and again after every commit that changes them, local or remote.
 *
 * The flow is cold: each collector has its own watch. A slow collector skips stale results, never the latest. The flow
 * completes when the client is shut down and pauses while it is suspended.
 *
 * ```kotlin
 * client.watch("SELECT id, title FROM task WHERE done = ?", false).collect { rows ->
 *     show(rows.map { it.string("title") })
 * }
 * ```
 *
 * @throws RejoinException.InvalidInput on collection, if the query does not compile or is not read-only; also later, for
 *   example when its table was dropped. The flow then fails; `retry` starts a new watch.
 */
public fun RejoinClient.watch(sql: String, vararg params: Any?): Flow<RowBuffer> =
    updates(sql, params, emptyList()) { RowBuffer.fromBytes(it.rows) }

/**
 * As the other [watch], with each row converted to a [T] by [map] on `Dispatchers.Default`.
 *
 * ```kotlin
 * val titles: Flow<List<String>> = client.watch("SELECT title FROM task") { it.string("title") }
 * ```
 */
public fun <T> RejoinClient.watch(sql: String, vararg params: Any?, map: (Row) -> T): Flow<List<T>> =
    updates(sql, params, emptyList()) { update ->
        withContext(Dispatchers.Default) { RowBuffer.fromBytes(update.rows).mapRows(map) }
    }

/**
 * The rows of a query with their difference from the previous result, for lists that update single rows.
 *
 * Otherwise as [watch]. The difference is relative to the collector's previous result, so a slow collector misses
 * nothing. Do not apply `conflate`, `sample` or similar operators: they drop differences.
 *
 * ```kotlin
 * client.watchDifferences("SELECT * FROM task ORDER BY rank", key = listOf("id")).collect { update ->
 *     adapter.apply(update.rows, update.difference)
 * }
 * ```
 *
 * @param key the names of the columns that identify a row.
 */
public fun RejoinClient.watchDifferences(sql: String, vararg params: Any?, key: List<String>): Flow<WatchUpdate> {
    if (key.isEmpty()) throw RejoinException.InvalidInput("watching differences: name the columns that identify a row")
    return updates(sql, params, key) { it.toPublic() }
}

/**
 * A result and its difference from the previous one.
 *
 * @property rows the whole result.
 * @property difference the difference from the same collector's previous result.
 */
public class WatchUpdate(public val rows: RowBuffer, public val difference: RowDifference)

/**
 * The difference between two results. Rows are given by index, from 0.
 *
 * @property added rows of this result with a new key; all rows the first time.
 * @property changed rows of this result with a known key and other values.
 * @property removed rows of the previous result whose key is gone.
 */
public data class RowDifference(val added: List<Int>, val changed: List<Int>, val removed: List<Int>)

private fun <T> RejoinClient.updates(
    sql: String,
    params: Array<out Any?>,
    key: List<String>,
    make: suspend (FfiWatchUpdate) -> T,
): Flow<T> {
    val values = params.toSql()
    return flow {
        val watch = crossing { ffi.watch(sql, values, key) }
        try {
            while (true) emit(make(watch.pull() ?: break))
        } finally {
            // Now, not at garbage collection: until then the engine would keep running the query.
            watch.cancel()
            watch.destroy()
        }
    }
}

private suspend fun QueryWatch.pull(): FfiWatchUpdate? = crossing { next() }

private fun FfiWatchUpdate.toPublic(): WatchUpdate {
    val places = { rows: List<UInt> -> rows.map(UInt::toInt) }
    val difference = difference ?: throw RejoinException.Internal("the result of a watch with a key has no difference")
    return WatchUpdate(
        RowBuffer.fromBytes(rows),
        RowDifference(places(difference.added), places(difference.changed), places(difference.removed)),
    )
}

/** Returns when the client is shut down. */
internal suspend fun RejoinClient.awaitEnd() {
    try {
        updates("SELECT 1", emptyArray(), emptyList()) {}.collect()
    } catch (_: RejoinException.Ended) {
        // The client ended before the watch began.
    }
}
