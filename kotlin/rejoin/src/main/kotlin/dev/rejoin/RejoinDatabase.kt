/*
 * The everyday calls on a database, as an interface that an app can replace in its tests.
 *
 * Excluded: opening and closing, start and stop, and the four handles; see RejoinClient.kt.
 */
package dev.rejoin

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.withContext
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.serializer

/**
 * Reads, writes and watches a database. [RejoinClient] is the implementation.
 *
 * An app's own code can take this type, so that its tests pass a fake. [RowBuffer.of] makes the rows of a fake. A later
 * version may add members; a new member has a default implementation.
 */
public interface RejoinDatabase {
    /** The current sync status and its changes. */
    public val status: StateFlow<SyncStatus>

    /**
     * Returns the rows of a query on the last committed state. Works offline and never waits for a write.
     *
     * Inside a transaction it still sees the last committed state; use [Transaction.query] to see the transaction's
     * own writes.
     *
     * ```kotlin
     * val open = client.query("SELECT id, title FROM task WHERE done = ?", false)
     * ```
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not read-only, or a parameter has
     *   a type that SQLite cannot store (see [Statement]).
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer

    /**
     * Runs a query and converts each row to a [T] with [map].
     *
     * ```kotlin
     * val titles = client.query("SELECT title FROM task WHERE done = ?", false) { it.string("title") }
     * ```
     *
     * @throws RejoinException.InvalidInput as the other [query], and if [map] reads a column that does not exist or
     *   has another type.
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * Runs several queries on the same database state in one call to the engine.
     *
     * @throws RejoinException.InvalidInput as [query].
     */
    public suspend fun queryMany(vararg statements: Statement): List<RowBuffer>

    /**
     * Runs [body] on one snapshot of the database, unaffected by concurrent writes. Never waits for a write.
     *
     * ```kotlin
     * val (lists, tasks) = client.read { it.query("SELECT * FROM list") to it.query("SELECT * FROM task") }
     * ```
     *
     * @throws RejoinException.TransactionTimeout if the body ran no query for too long.
     */
    public suspend fun <T> read(body: suspend (Snapshot) -> T): T

    /**
     * Runs one statement in its own transaction and returns the number of changed rows.
     *
     * When it returns, writes to synced tables are on disk and in the queue; they are pushed when there is a network.
     * If the coroutine is cancelled while it waits, the statement may still take effect.
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not allowed, or the call is made
     *   inside this client's own transaction.
     * @throws RejoinException.Constraint if a declared rule is violated; nothing was changed.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long

    /** As the other [execute], with a [Statement]. */
    public suspend fun execute(statement: Statement): Long = execute(statement.sql, *statement.params)

    /**
     * Runs one writing statement that returns rows (`INSERT ... RETURNING`) in its own transaction.
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun executeReturning(sql: String, vararg params: Any?): RowBuffer

    /**
     * Runs a script: several statements without parameters, separated by `;`, in one transaction.
     *
     * @throws RejoinException as [execute]; then none of the statements took effect.
     */
    public suspend fun executeScript(sql: String)

    /**
     * Runs several statements in one transaction and one call to the engine, and returns the number of rows that each
     * changed.
     *
     * Their writes to synced tables form one mutation: the server accepts or rejects it as a whole.
     *
     * ```kotlin
     * client.batch(tasks.map { Statement("INSERT INTO task(id, title) VALUES (?, ?)", it.id, it.title) })
     * ```
     *
     * @throws RejoinException as [execute]; then none of the statements took effect.
     */
    public suspend fun batch(statements: List<Statement>): List<Long>

    /**
     * Runs [body] in one transaction: committed when it returns, rolled back when it throws or its coroutine is cancelled.
     *
     * Keep the body short: every other write waits for it, and it is rolled back after 5 s without a statement
     * ([RejoinConfig.transactionIdle]). Cancelling after the commit has started has no effect: the transaction is
     * committed.
     *
     * Inside the body, [execute], [transaction], [RejoinClient.shutdown] and all other calls of the client that would
     * wait for this transaction throw [RejoinException.InvalidInput]. Queries, watches, [read] and notifications such
     * as [SyncHandle.setNetwork] are allowed.
     *
     * ```kotlin
     * client.transaction { tx ->
     *     val next = tx.query("SELECT ifnull(max(rank), 0) + 1 FROM task").first().long(0)
     *     tx.execute("INSERT INTO task(id, title, rank) VALUES (?, ?, ?)", id, title, next)
     * }
     * ```
     *
     * @throws RejoinException.TransactionTimeout if the body ran no statement for too long.
     * @throws RejoinException.Suspended or [RejoinException.Closed] if the client was suspended or shut down during
     *   the transaction.
     */
    public suspend fun <T> transaction(body: suspend (Transaction) -> T): T

    /**
     * Performs an action in one transaction. The transaction becomes one mutation that stores the action's name and
     * arguments. Until the server has accepted it, it runs again when remote changes affect it.
     *
     * Works offline. If the coroutine is cancelled while it waits, the action may still be performed.
     *
     * ```kotlin
     * val taken = client.perform("take", mapOf("id" to "nails", "n" to 2))
     * val left = taken.decode<Long>()
     * ```
     *
     * @param arguments a value per parameter name: null, [Boolean], [Byte], [Short], [Int], [Long], [Float], [Double],
     *   [String], [ByteArray], `kotlin.time.Instant`, lists and maps of these, or a `JsonElement`.
     * @throws RejoinException.Action if the action is unknown, an argument is invalid, one of the action's rules refuses,
     *   or its code times out; it was rolled back.
     * @throws RejoinException.ActionTooSlow beyond [ActionBudget.run], [RejoinException.ActionTooLarge] beyond
     *   [ActionBudget.bytes]; it was rolled back.
     * @throws RejoinException.Callback with the exception of the action's code as its cause; it was rolled back.
     * @throws RejoinException.InvalidInput for an argument that cannot be converted to JSON, and as [execute].
     */
    public suspend fun perform(name: String, arguments: Map<String, Any?>): Performed

    /** As the other [perform], with the arguments as pairs. */
    public suspend fun perform(name: String, vararg arguments: Pair<String, Any?>): Performed = perform(name, arguments.toMap())

    /** As the other [perform], with the arguments as [serializer] writes them. */
    public suspend fun <A> perform(name: String, serializer: SerializationStrategy<A>, arguments: A): Performed =
        perform(name, arguments.toJson(serializer) { "the arguments of action $name" }.jsonObject)

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
     * @throws RejoinException.InvalidInput on collection, if the query does not compile or is not read-only; also later,
     *   for example when its table was dropped. The flow then fails; `retry` starts a new watch.
     */
    public fun watch(sql: String, vararg params: Any?): Flow<RowBuffer>

    /**
     * As the other [watch], with each row converted to a [T] by [map] on `Dispatchers.Default`.
     *
     * ```kotlin
     * val titles: Flow<List<String>> = client.watch("SELECT title FROM task") { it.string("title") }
     * ```
     */
    public fun <T> watch(sql: String, vararg params: Any?, map: (Row) -> T): Flow<List<T>> =
        watch(sql, *params).map { rows -> withContext(Dispatchers.Default) { rows.mapRows(map) } }

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
    public fun watchDifferences(sql: String, vararg params: Any?, key: List<String>): Flow<WatchUpdate>

    /**
     * The changes of each commit from the start of collection on, limited to commits that change one of [tables] if any
     * are given.
     *
     * The flow is cold. A slow collector gets merged changes and misses none. The flow completes when the client is shut
     * down.
     *
     * ```kotlin
     * client.changes("task").collect { change -> log("${change.origin} touched ${change.tables}") }
     * ```
     */
    public fun changes(vararg tables: String): Flow<Change>
}

/** A database with a client behind it: a [RejoinClient], or one that opens its client when a call needs it. */
public interface SyncedDatabase : RejoinDatabase {
    /**
     * Runs [block] with the client, for everything that is not in [RejoinDatabase]: the queue, syncing, schema, storage. The
     * client stays open at least until [block] returns. Do not keep it.
     *
     * ```kotlin
     * val waiting = database.withClient { it.queue.all() }
     * ```
     *
     * @throws RejoinException as [RejoinClient.open], if the client is opened for this call.
     */
    public suspend fun <T> withClient(block: suspend (RejoinClient) -> T): T
}

/**
 * As [RejoinDatabase.perform], with the arguments as a serializable class whose properties are the parameters.
 *
 * An extension, because a member with a reified type cannot be replaced by a fake; the fake gets the call of the member.
 */
public suspend inline fun <reified A : Any> RejoinDatabase.perform(name: String, arguments: A): Performed =
    perform(name, serializer<A>(), arguments)
