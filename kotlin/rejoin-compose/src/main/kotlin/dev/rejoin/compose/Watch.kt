/*
 * Watched queries as Compose state.
 *
 * A query runs only while the lifecycle is started. A failing query is a state, never an exception in the composition.
 * Watching itself is in dev.rejoin.RejoinDatabase.
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
import dev.rejoin.RejoinDatabase
import dev.rejoin.Row
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.flow

/** The state of a watched query; from [rememberWatch]. */
public sealed interface WatchState<out T> {
    /** The latest rows; empty while [Loading]. */
    public val rows: List<T>

    /** The first result has not arrived yet. */
    public data object Loading : WatchState<Nothing> {
        override val rows: List<Nothing> get() = emptyList()
    }

    /**
     * A result.
     *
     * @property rows all rows of the query.
     */
    public data class Rows<out T>(override val rows: List<T>) : WatchState<T>

    /**
     * The query failed. It runs again when the lifecycle starts again, or with other parameters.
     *
     * @property error what the query or the conversion of a row threw.
     * @property rows the rows of the last result; empty if there was none.
     */
    public data class Failed<out T>(val error: Throwable, override val rows: List<T>) : WatchState<T>
}

/**
 * The rows of a query now, and again after every commit that changes them: [RejoinDatabase.watch] as state.
 *
 * The query runs while the lifecycle is at least started; then the latest rows stay. With another database, SQL or other
 * parameters it starts again at [WatchState.Loading]. Parameters are compared by content, also bytes.
 *
 * ```kotlin
 * val tasks by database.rememberWatch("SELECT id, title FROM task WHERE list_id = ? ORDER BY rank", list) { it.decode<Task>() }
 * when (val state = tasks) {
 *     is WatchState.Loading -> CircularProgressIndicator()
 *     is WatchState.Rows -> TaskList(state.rows)
 *     is WatchState.Failed -> Text("${state.error.message}")
 * }
 * ```
 *
 * @param params a value for each `?`, as in [dev.rejoin.Statement].
 * @param map converts a row, on `Dispatchers.Default`. A value that it captures applies from the next result on; a value
 *   that changes the rows belongs into [params].
 */
@Composable
public fun <T> RejoinDatabase.rememberWatch(sql: String, vararg params: Any?, map: (Row) -> T): State<WatchState<T>> {
    val query = WatchKey(this, sql, params)
    val state = remember(query) { mutableStateOf<WatchState<T>>(WatchState.Loading) }
    val latest = rememberUpdatedState(map)
    val lifecycle = LocalLifecycleOwner.current.lifecycle
    LaunchedEffect(state, lifecycle) {
        lifecycle.repeatOnLifecycle(Lifecycle.State.STARTED) {
            // In a flow, because `watch` rejects a parameter at once.
            flow { emitAll(watch(sql, *params) { row -> latest.value(row) }) }
                .catch { error -> state.value = WatchState.Failed(error, state.value.rows) }
                .collect { rows -> state.value = WatchState.Rows(rows) }
        }
    }
    return state
}

/** Identifies a watched query: equal if and only if the parameters have equal content. */
internal class WatchKey(private val database: RejoinDatabase, private val sql: String, private val params: Array<out Any?>) {
    override fun equals(other: Any?): Boolean =
        other is WatchKey && database === other.database && sql == other.sql && params.contentDeepEquals(other.params)

    override fun hashCode(): Int = 31 * sql.hashCode() + params.contentDeepHashCode()
}
