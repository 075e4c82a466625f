/*
 * Watched queries as typed rows, as one value, and as results that outlive a failing query.
 *
 * Extensions of RejoinDatabase, so that a fake needs only `watch`, `changes` and `status`. Watch.kt has the flow that
 * they are built on.
 */
package dev.rejoin

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.ReceiveChannel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.filterNot
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.merge
import kotlinx.coroutines.flow.onCompletion
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.produceIn
import kotlinx.coroutines.flow.retryWhen
import kotlinx.coroutines.withContext
import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.serializer
import kotlin.time.Duration.Companion.seconds

/**
 * As [RejoinDatabase.watch], with each row decoded to a [T] on `Dispatchers.Default`; see [RowBuffer.decode].
 *
 * ```kotlin
 * val open: Flow<List<Task>> = client.watch<Task>("SELECT id, title, done FROM task WHERE done = ?", false)
 * ```
 *
 * The type argument selects this function: without it, the call is the member and returns the rows.
 */
public inline fun <reified T> RejoinDatabase.watch(sql: String, vararg params: Any?): Flow<List<T>> =
    decoded(serializer<T>(), watch(sql, *params))

/**
 * The first row of a query decoded to a [T], or null if there is none: now, and again whenever the value has changed.
 *
 * Otherwise as [RejoinDatabase.watch]. Values are compared by `equals`, so use a data class. The query may return more
 * rows; they are ignored.
 *
 * ```kotlin
 * val task: Flow<Task?> = client.watchOne<Task>("SELECT id, title, done FROM task WHERE id = ?", "t1")
 * ```
 */
public inline fun <reified T> RejoinDatabase.watchOne(sql: String, vararg params: Any?): Flow<T?> {
    val deserializer = serializer<T>()
    return watchOne(sql, *params) { it.decode(deserializer) }
}

/** As the other [watchOne], with the row converted by [map]. */
public fun <T> RejoinDatabase.watchOne(sql: String, vararg params: Any?, map: (Row) -> T): Flow<T?> =
    watch(sql, *params)
        .map { rows -> if (rows.isEmpty()) null else withContext(Dispatchers.Default) { map(rows[0]) } }
        .distinctUntilChanged()

/**
 * As [RejoinDatabase.watch], but a failing query emits its exception as a [Result] and does not end the flow.
 *
 * After a failure the query runs again after each commit, and when syncing is resumed, until it succeeds. A failure that
 * repeats with the same message is emitted once. The flow completes when the client is shut down. Exceptions that are not
 * a [RejoinException] are thrown.
 *
 * ```kotlin
 * client.watchResults("SELECT id, title FROM task").collect { result ->
 *     result.onSuccess { rows -> show(rows) }.onFailure { why -> showError(why.message) }
 * }
 * ```
 *
 * @throws RejoinException.InvalidInput at the call, if a parameter has a type that SQLite cannot store.
 */
public fun RejoinDatabase.watchResults(sql: String, vararg params: Any?): Flow<Result<RowBuffer>> {
    val rows = watch(sql, *params)
    return flow {
        coroutineScope {
            val failure = RepeatedFailure(this@watchResults, this)
            rows
                .map { Result.success(it) }
                .onEach { failure.end() }
                .retryWhen { cause, _ ->
                    if (cause !is RejoinException || cause is RejoinException.Closed) return@retryWhen false
                    if (failure.isNew(cause)) emit(Result.failure(cause))
                    failure.awaitRetry()
                    true
                }
                .catch { if (it !is RejoinException.Closed) throw it }
                .collect { emit(it) }
            failure.end()
        }
    }
}

/**
 * As the other [watchResults], with each row decoded to a [T]. A row that cannot be decoded is a failure as well.
 *
 * ```kotlin
 * val tasks: Flow<Result<List<Task>>> = client.watchResults<Task>("SELECT id, title, done FROM task")
 * ```
 */
@JvmName("watchDecodedResults")
public inline fun <reified T> RejoinDatabase.watchResults(sql: String, vararg params: Any?): Flow<Result<List<T>>> =
    decodedResults(serializer<T>(), watchResults(sql, *params))

@PublishedApi
internal fun <T> decoded(deserializer: DeserializationStrategy<T>, rows: Flow<RowBuffer>): Flow<List<T>> =
    rows.map { withContext(Dispatchers.Default) { it.decode(deserializer) } }

@PublishedApi
internal fun <T> decodedResults(deserializer: DeserializationStrategy<T>, results: Flow<Result<RowBuffer>>): Flow<Result<List<T>>> =
    results.map { result ->
        try {
            Result.success(withContext(Dispatchers.Default) { result.getOrThrow().decode(deserializer) })
        } catch (why: RejoinException) {
            Result.failure(why)
        }
    }

/** The failure of a watched query until it succeeds again; meanwhile subscribed to whatever may resolve it. */
private class RepeatedFailure(private val database: RejoinDatabase, private val scope: CoroutineScope) {
    private var last: String? = null
    private var retries: ReceiveChannel<Unit>? = null

    fun isNew(cause: RejoinException): Boolean = cause.toString().let { text -> (text != last).also { last = text } }

    suspend fun awaitRetry() {
        // One subscription for the whole failure: a commit between two attempts is not missed.
        val retries = retries ?: database.retries().buffer(Channel.CONFLATED).produceIn(scope).also { retries = it }
        retries.receive()
    }

    fun end() {
        last = null
        retries?.cancel()
        retries = null
    }
}

/** When to run a failed query again. */
private fun RejoinDatabase.retries(): Flow<Unit> {
    // They complete at shutdown, where the next attempt ends the watch.
    val commits = changes().map {}.catch { if (it !is RejoinException.Closed) throw it }.onCompletion { if (it == null) emit(Unit) }
    val resumed = status.map { it.state is SyncState.Suspended }.distinctUntilChanged().filterNot { it }.map {}
    // `changes` does not report when its subscription has begun: once more, for a commit before that.
    val late = flow { emit(delay(1.seconds)) }
    return merge(commits, resumed, late)
}
