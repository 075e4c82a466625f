/*
 * Watched queries as flows.
 *
 * The flow pulls: it asks the engine for the next result when the collector is ready for one, so there is no buffer between
 * them, nothing is called back over the border, and a slow collector gets the latest result and none in between.
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
 * The rows of a query, now, and again after every commit that changes them, whoever wrote.
 *
 * Cold: each collector watches for itself, from its first moment to its last. A slow collector skips stale results, never the
 * latest. The flow completes when the client is shut down, and stands still while it is suspended.
 *
 * ```kotlin
 * client.watch("SELECT id, title FROM task WHERE done = ?", false).collect { rows ->
 *     show(rows.map { it.string("title") })
 * }
 * ```
 *
 * @throws RejoinException.InvalidInput when collected, if the query does not compile or writes; also later, when its table was
 *   dropped, for instance. The flow fails then; `retry` begins anew.
 */
public fun RejoinClient.watch(sql: String, vararg params: Any?): Flow<RowBuffer> =
    updates(sql, params, emptyList()) { RowBuffer.fromBytes(it.rows) }

/**
 * As the other [watch], each row made into a [T] by [map], which runs on `Dispatchers.Default`.
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
 * The rows of a query with how they differ from the result before, for lists that move single rows.
 *
 * As [watch] otherwise. The difference is against what this collector got before, so nothing is missed by a slow one. Do not
 * put `conflate`, `sample` and the like behind it: they drop differences.
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
 * A result and how it differs from the one before.
 *
 * @property rows the whole result.
 * @property difference against the result that the same collector got before.
 */
public class WatchUpdate(public val rows: RowBuffer, public val difference: RowDifference)

/**
 * How a result differs from the one before. Rows are named by their places, from 0.
 *
 * @property added rows of this result whose key was not there before; all of them the first time.
 * @property changed rows of this result whose key was there with other values.
 * @property removed rows of the result before whose key is not there any more.
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
            // Now, and not when the garbage collector comes by: until then the engine would run the query for nobody.
            watch.cancel()
            watch.destroy()
        }
    }
}

private suspend fun QueryWatch.pull(): FfiWatchUpdate? = crossing { next() }

private fun FfiWatchUpdate.toPublic(): WatchUpdate {
    val places = { rows: List<UInt> -> rows.map(UInt::toInt) }
    val difference = difference ?: throw RejoinException.Internal("a watch with a key came without its difference")
    return WatchUpdate(
        RowBuffer.fromBytes(rows),
        RowDifference(places(difference.added), places(difference.changed), places(difference.removed)),
    )
}

/** Returns when the client has been shut down, whoever did it. */
internal suspend fun RejoinClient.awaitEnd() {
    try {
        updates("SELECT 1", emptyArray(), emptyList()) {}.collect()
    } catch (_: RejoinException.Ended) {
        // It was over before the watch began.
    }
}
