/*
 * Statements and transactions of a driver, as calls of the client.
 *
 * A statement runs in the transaction of its thread or coroutine, if there is one, else in its own. OpenTransaction.kt
 * holds a transaction open between two calls.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.Transacter
import app.cash.sqldelight.db.QueryResult
import dev.rejoin.RejoinDatabase
import dev.rejoin.RejoinException
import dev.rejoin.RowBuffer
import dev.rejoin.Transaction
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asContextElement
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlin.coroutines.ContinuationInterceptor
import kotlin.coroutines.CoroutineContext

/** What both drivers share; each wraps the calls in its kind of [QueryResult]. */
internal class Connection(private val database: RejoinDatabase) {
    val listeners: Listeners = Listeners(database)

    private val sessions = ThreadLocal<Session?>()

    @Volatile
    private var closed = false

    /** The transaction that this thread or coroutine is in. */
    val session: Session? get() = sessions.get()?.takeUnless { it.isOver }

    suspend fun execute(sql: String, values: Array<Any?>): Long {
        refuseClosed()
        val transaction = session?.transaction
        val created = createTable(sql)
        return when {
            created == null -> transaction?.execute(sql, *values) ?: database.execute(sql, *values)
            transaction != null -> transaction.create(created)
            else -> database.transaction { it.create(created) }
        }
    }

    suspend fun query(sql: String, values: Array<Any?>): RowBuffer {
        refuseClosed()
        val transaction = session?.transaction
        return when {
            transaction != null -> transaction.query(sql, *values)
            writesRows(sql) -> database.executeReturning(sql, *values)
            else -> database.query(sql, *values)
        }
    }

    /** Begins a transaction, when the writer is free. */
    suspend fun begin(): Session {
        refuseClosed()
        return Session(OpenTransaction.begin(database))
    }

    /** Puts this thread into a transaction, until [leave]. */
    fun enter(session: Session): Unit = sessions.set(session)

    fun leave(): Unit = sessions.remove()

    /** Runs [body] in a transaction, on one thread; it ends the transaction by [Session.end]. */
    suspend fun <R> hold(body: suspend () -> R): R {
        val session = begin()
        try {
            return withContext(BODIES) {
                val caller = currentCoroutineContext().minusKey(ContinuationInterceptor)
                runBlocking(caller + session.context + sessions.asContextElement(session)) { body() }
            }
        } finally {
            // For a body that was cancelled before it could end the transaction.
            session.abandon()
        }
    }

    fun close() {
        closed = true
        listeners.close()
    }

    private fun refuseClosed() {
        if (closed) throw RejoinException.Closed("the driver was closed; create another one for the client")
    }

    private companion object {
        /** Bodies of transactions. Their own threads beside those of `Dispatchers.IO`, which may all wait for the writer. */
        val BODIES = Dispatchers.IO.limitedParallelism(64, "rejoin-sqldelight")
    }
}

/** A transaction of the engine with the nested transactions of SQLDelight in it. */
internal class Session(private val open: OpenTransaction) {
    val transaction: Transaction get() = open.transaction

    val context: CoroutineContext get() = open.context

    val isOver: Boolean get() = open.isOver

    /** The innermost transaction that has not ended. */
    var innermost: NestedTransaction? = null

    /** Begins a transaction inside [innermost]; [end] runs if it is the outermost one. */
    fun begin(end: (Boolean) -> QueryResult<Unit>): NestedTransaction = NestedTransaction(this, innermost, end).also { innermost = it }

    suspend fun end(successful: Boolean): Unit = open.end(successful)

    suspend fun abandon(): Unit = open.abandon()
}

/** A transaction of SQLDelight; only the outermost one ends the transaction of the engine. */
internal class NestedTransaction(
    private val session: Session,
    override val enclosingTransaction: NestedTransaction?,
    private val end: (Boolean) -> QueryResult<Unit>,
) : Transacter.Transaction() {
    override fun endTransaction(successful: Boolean): QueryResult<Unit> {
        session.innermost = enclosingTransaction
        return if (enclosingTransaction == null) end(successful) else QueryResult.Unit
    }
}
