/*
 * The asynchronous driver, for databases that SQLDelight generates with `generateAsync = true`.
 *
 * No call blocks the caller's thread, and every error of the engine arrives as RejoinException. Statements and
 * transactions are in Connection.kt, the blocking variant in RejoinBlockingSqlDriver.kt, CREATE TABLE and migrations in
 * SyncedTables.kt and CreateOrMigrate.kt.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.Query
import app.cash.sqldelight.SuspendingTransacter
import app.cash.sqldelight.Transacter
import app.cash.sqldelight.db.QueryResult
import app.cash.sqldelight.db.SqlCursor
import app.cash.sqldelight.db.SqlDriver
import app.cash.sqldelight.db.SqlPreparedStatement
import dev.rejoin.RejoinDatabase
import dev.rejoin.RejoinException

/**
 * A SQLDelight driver over [database], a `RejoinClient` or the database of `Rejoin.android`, for `generateAsync = true`.
 *
 * A transaction of SQLDelight is one transaction of the client: its writes to synced tables form one mutation, which the
 * server accepts or rejects as a whole. Its body runs on one thread of `Dispatchers.IO`, because SQLDelight binds a
 * transaction to a thread. As in SQLDelight, an inner transaction has no savepoint: if it rolls back, so does the outer
 * one. Do not call the client itself inside a transaction: a write throws [RejoinException.InvalidInput].
 *
 * Queries are notified of every commit that changes their tables: writes of this driver, of the client, and of the
 * server. Safe to use from any thread.
 *
 * ```kotlin
 * client.createOrMigrate(NotesDatabase.Schema)
 * val database = NotesDatabase(RejoinSqlDriver(client))
 * database.taskQueries.add("t1", "buy milk")
 * database.taskQueries.all().asFlow().mapToList(Dispatchers.Default).collect(::show)
 * ```
 *
 * All calls throw the [RejoinException] of the same call of the client; after [close], [RejoinException.Closed].
 */
public class RejoinSqlDriver(database: RejoinDatabase) :
    SqlDriver,
    SuspendingTransacter.TransactionDispatcher {
    private val connection = Connection(database)

    override fun <R> executeQuery(
        identifier: Int?,
        sql: String,
        mapper: (SqlCursor) -> QueryResult<R>,
        parameters: Int,
        binders: (SqlPreparedStatement.() -> Unit)?,
    ): QueryResult<R> {
        val values = bound(parameters, binders)
        return QueryResult.AsyncValue { mapper(RowCursor(connection.query(sql, values))).await() }
    }

    override fun execute(
        identifier: Int?,
        sql: String,
        parameters: Int,
        binders: (SqlPreparedStatement.() -> Unit)?,
    ): QueryResult<Long> {
        val values = bound(parameters, binders)
        return QueryResult.AsyncValue { connection.execute(sql, values) }
    }

    /**
     * Begins a transaction inside [dispatch].
     *
     * @throws RejoinException.InvalidInput outside: then nothing would end the transaction if the coroutine is cancelled.
     *   A driver that wraps this one must implement [SuspendingTransacter.TransactionDispatcher] and pass it on.
     */
    override fun newTransaction(): QueryResult<Transacter.Transaction> {
        val session =
            connection.session ?: throw RejoinException.InvalidInput(
                "newTransaction was called outside of dispatch; use transaction { } of a database generated with " +
                    "generateAsync = true, or RejoinBlockingSqlDriver",
            )
        return QueryResult.Value(session.begin { successful -> QueryResult.AsyncValue { session.end(successful) } })
    }

    override fun currentTransaction(): Transacter.Transaction? = connection.session?.innermost

    /** Runs the body of a transaction, on one thread; inside a transaction, as part of it. */
    override suspend fun <R> dispatch(transaction: suspend () -> R): R =
        if (connection.session != null) transaction() else connection.hold(transaction)

    override fun addListener(vararg queryKeys: String, listener: Query.Listener): Unit = connection.listeners.add(queryKeys, listener)

    override fun removeListener(vararg queryKeys: String, listener: Query.Listener): Unit =
        connection.listeners.remove(queryKeys, listener)

    /**
     * Notifies the listeners of keys that are not tables. For tables it does nothing: the engine reports each of their
     * commits once.
     */
    override fun notifyListeners(vararg queryKeys: String): Unit = connection.listeners.notify(queryKeys)

    /** Removes all listeners and rejects further calls. The client stays open: it belongs to the app. */
    override fun close(): Unit = connection.close()
}
