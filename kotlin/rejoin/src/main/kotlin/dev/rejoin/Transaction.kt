/*
 * Transactions and snapshots held by coroutines.
 *
 * The engine's writer serves one transaction from begin to end, even while the coroutine waits for something else. A
 * transaction ends in one of two ways: the body returned and the commit succeeded, or nothing happened. The coroutine
 * context contains the transaction, so a call that would deadlock on it is rejected at once.
 */
package dev.rejoin

import dev.rejoin.ffi.HeldSnapshot
import dev.rejoin.ffi.HeldTransaction
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withContext
import kotlin.coroutines.AbstractCoroutineContextElement
import kotlin.coroutines.CoroutineContext

/**
 * The transaction passed to the body of [RejoinClient.transaction], valid until the body ends.
 *
 * It sees its own writes; others see them after the commit. All its writes to synced tables form one mutation, which the
 * server accepts or rejects as a whole. Run statements one after the other.
 */
public class Transaction internal constructor(private val held: HeldTransaction) {
    @Volatile
    private var over = false

    /** Whether the transaction has ended. */
    internal val isOver: Boolean get() = over

    /**
     * Runs one statement and returns the number of changed rows.
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not allowed; the transaction can
     *   continue.
     * @throws RejoinException.Constraint if a declared rule is violated; the transaction can continue.
     * @throws RejoinException.TransactionTimeout if the transaction was idle for too long.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long = call { held.execute(sql, params.toSql()) }

    /** As the other [execute], with a [Statement]. */
    public suspend fun execute(statement: Statement): Long = execute(statement.sql, *statement.params)

    /**
     * Returns the rows of a query or of a writing statement with `RETURNING`.
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(call { held.query(sql, params.toSql()) })

    /**
     * Returns the rows of a query, each converted to a [T].
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * Runs several statements in one call to the engine, all or none, and returns the number of rows that each changed.
     *
     * @throws RejoinException as [execute]; then the transaction can continue without them.
     */
    public suspend fun batch(statements: List<Statement>): List<Long> =
        call { held.batch(statements.map(Statement::toFfi)) }

    /**
     * Runs [body] in a savepoint: an exception in it, or cancellation, reverts only its writes. Savepoints nest and run
     * one at a time. A savepoint that ends while a nested one is open throws [RejoinException.InvalidInput]. A
     * transaction whose body returns while a savepoint is open is rolled back and throws the same.
     *
     * ```kotlin
     * client.transaction { tx ->
     *     tx.execute("INSERT INTO task(id, title) VALUES ('t1', 'buy milk')")
     *     runCatching { tx.savepoint { it.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 'missing', 'x')") } }
     * }
     * ```
     */
    public suspend fun <T> savepoint(body: suspend (Transaction) -> T): T {
        // Not cancellable: otherwise a savepoint whose number is lost could stay open.
        val part = withContext(NonCancellable) { call { held.savepoint() } }
        // A savepoint that cannot be ended stays open, and the engine does not commit it.
        return ending(body, keep = { held.release(part) }, undo = { held.rollbackTo(part) })
    }

    /** The id of the mutation that an edit produced, after the commit. */
    internal fun edited(): String? = translated { held.edited() }

    internal suspend fun <T> run(body: suspend (Transaction) -> T): T =
        ending(body, keep = { held.commit() }, undo = { held.rollback() })

    /** Releases the handle, which rolls back a transaction that has not ended. */
    internal fun end() {
        over = true
        held.destroy()
    }

    private suspend fun <T> call(call: suspend () -> T): T {
        if (over) throw RejoinException.InvalidInput("the transaction has ended; begin a new one")
        return crossing(block = call)
    }

    /** Runs [body], then exactly one of [keep] and [undo]; cancellation before [keep] starts leads to [undo]. */
    private suspend fun <T> ending(
        body: suspend (Transaction) -> T,
        keep: suspend () -> Unit,
        undo: suspend () -> Unit,
    ): T {
        val result =
            try {
                body(this).also { currentCoroutineContext().ensureActive() }
            } catch (why: Throwable) {
                // If it has already ended (timeout, suspension, shutdown), there is nothing to undo; `why` is the better
                // error.
                runCatching { withContext(NonCancellable) { crossing(block = undo) } }
                throw why
            }
        withContext(NonCancellable) { crossing(block = keep) }
        return result
    }
}

/**
 * One snapshot of the database, unaffected by concurrent writes; passed to the body of [RejoinClient.read] and valid
 * until the body ends.
 */
public class Snapshot internal constructor(private val held: HeldSnapshot) {
    @Volatile
    private var over = false

    /**
     * Returns the rows of a query.
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not read-only.
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer {
        if (over) throw RejoinException.InvalidInput("the snapshot has ended; begin a new one")
        return RowBuffer.fromBytes(crossing { held.query(sql, params.toSql()) })
    }

    /**
     * Returns the rows of a query, each converted to a [T].
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not read-only.
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /** Releases the handle and its read connection. */
    internal fun end() {
        over = true
        held.destroy()
    }
}

/** Marks a coroutine and its children as inside a transaction or an action of a file, until that is [over]. */
internal class InsideTransaction(
    private val path: String,
    private val over: () -> Boolean,
    private val outer: InsideTransaction?,
) : AbstractCoroutineContextElement(InsideTransaction) {
    companion object Key : CoroutineContext.Key<InsideTransaction>

    /** Whether this coroutine holds the writer of the file; all clients of a file share one writer. */
    fun holds(file: String): Boolean = (path == file && !over()) || outer?.holds(file) == true
}

/** Throws if the call would wait for this coroutine's own transaction on the file. */
internal suspend fun refuseInside(path: String) {
    if (currentCoroutineContext()[InsideTransaction]?.holds(path) == true) {
        throw RejoinException.InvalidInput(
            "called from inside a transaction that it would wait for; use the methods of the transaction or of the action's context",
        )
    }
}
