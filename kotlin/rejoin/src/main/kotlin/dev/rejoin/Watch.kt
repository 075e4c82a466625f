/*
 * Watched queries as flows. RejoinDatabase.kt documents the calls.
 *
 * The flow pulls: it requests the next result when the collector is ready. So there is no buffer and no callback across
 * the FFI boundary, and a slow collector gets only the latest result.
 */
package dev.rejoin

import dev.rejoin.ffi.QueryWatch
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.flow
import dev.rejoin.ffi.RejoinClient as FfiClient
import dev.rejoin.ffi.WatchUpdate as FfiWatchUpdate

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

/** The flow of [RejoinDatabase.watch]. */
internal fun FfiClient.watched(sql: String, params: Array<out Any?>): Flow<RowBuffer> {
    val values = params.toSql()
    return updates({ watch(sql, values, emptyList()) }) { RowBuffer.fromBytes(it.rows) }
}

/** The flow of [RejoinDatabase.watchDifferences]. */
internal fun FfiClient.watchedDifferences(sql: String, params: Array<out Any?>, key: List<String>): Flow<WatchUpdate> {
    if (key.isEmpty()) throw RejoinException.InvalidInput("watching differences: name the columns that identify a row")
    val values = params.toSql()
    return updates({ watch(sql, values, key) }) { it.toPublic() }
}

/** The results of the watch that [begin] starts for each collector. */
internal fun <T> updates(begin: () -> QueryWatch, make: suspend (FfiWatchUpdate) -> T): Flow<T> =
    flow {
        val watch = crossing { begin() }
        try {
            while (true) emit(make(watch.pull() ?: break))
        } finally {
            // Now, not at garbage collection: until then the engine would keep running the query.
            watch.cancel()
            watch.destroy()
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
internal suspend fun FfiClient.awaitEnd() {
    try {
        updates({ watch("SELECT 1", emptyList(), emptyList()) }) {}.collect()
    } catch (_: RejoinException.Closed) {
        // The client ended before the watch began.
    }
}
