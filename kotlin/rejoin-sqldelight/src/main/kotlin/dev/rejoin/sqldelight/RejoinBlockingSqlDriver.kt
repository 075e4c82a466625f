/*
 * The blocking driver, for databases that SQLDelight generates without `generateAsync`.
 *
 * A call waits on the caller's thread and needs no other thread of a bounded pool, so that any number of waiting threads
 * makes progress. A call on Android's main thread is rejected. It does not detect a call inside a transaction of the
 * client itself: that call ends when the engine rolls the idle transaction back.
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
import kotlinx.coroutines.runBlocking

/**
 * A SQLDelight driver over [database] whose calls block their thread; otherwise as [RejoinSqlDriver].
 *
 * Call it on a background thread, for example in `withContext(Dispatchers.IO)`. On Android's main thread every call
 * throws [RejoinException.InvalidInput]. A transaction belongs to the thread that began it.
 *
 * Do not call it inside [RejoinClient.transaction] or an action: it would wait for the transaction that encloses it,
 * until the engine rolls that back as idle ([RejoinException.TransactionTimeout]).
 *
 * ```kotlin
 * client.createOrMigrate(NotesDatabase.Schema)
 * val database = NotesDatabase(RejoinBlockingSqlDriver(client))
 * withContext(Dispatchers.IO) { database.taskQueries.add("t1", "buy milk") }
 * ```
 */
public class RejoinBlockingSqlDriver(database: RejoinDatabase) :
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
        return mapper(RowCursor(blocking { connection.query(sql, values) }))
    }

    override fun execute(
        identifier: Int?,
        sql: String,
        parameters: Int,
        binders: (SqlPreparedStatement.() -> Unit)?,
    ): QueryResult<Long> {
        val values = bound(parameters, binders)
        return QueryResult.Value(blocking { connection.execute(sql, values) })
    }

    /** Begins a transaction of this thread, or an inner one. Waits until the writer is free. */
    override fun newTransaction(): QueryResult<Transacter.Transaction> {
        val session = connection.session ?: blocking { connection.begin() }.also(connection::enter)
        return QueryResult.Value(session.begin { successful -> QueryResult.Value(end(session, successful)) })
    }

    override fun currentTransaction(): Transacter.Transaction? = connection.session?.innermost

    /**
     * Rejects a transaction of a database that was generated with `generateAsync = true`: its body could change threads.
     *
     * @throws RejoinException.InvalidInput always.
     */
    override suspend fun <R> dispatch(transaction: suspend () -> R): R =
        throw RejoinException.InvalidInput("this database was generated with generateAsync = true; use RejoinSqlDriver")

    override fun addListener(vararg queryKeys: String, listener: Query.Listener): Unit = connection.listeners.add(queryKeys, listener)

    override fun removeListener(vararg queryKeys: String, listener: Query.Listener): Unit =
        connection.listeners.remove(queryKeys, listener)

    /** As [RejoinSqlDriver.notifyListeners]. */
    override fun notifyListeners(vararg queryKeys: String): Unit = connection.listeners.notify(queryKeys)

    /** As [RejoinSqlDriver.close]. */
    override fun close(): Unit = connection.close()

    private fun end(session: Session, successful: Boolean) {
        try {
            blocking { session.end(successful) }
        } finally {
            connection.leave()
        }
    }

    private fun <T> blocking(call: suspend () -> T): T {
        if (isAndroidMainThread()) {
            throw RejoinException.InvalidInput(
                "called on Android's main thread, which it would block; call it in withContext(Dispatchers.IO), or use " +
                    "RejoinSqlDriver with generateAsync = true",
            )
        }
        return runBlocking { call() }
    }
}
