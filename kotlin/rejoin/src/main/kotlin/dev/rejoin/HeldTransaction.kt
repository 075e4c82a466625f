/*
 * Transactions and snapshots of the engine, held by coroutines. Transaction.kt has their public types.
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

/** A transaction of the engine. */
internal class HeldTransactionBody(private val held: HeldTransaction) : Transaction {
    @Volatile
    private var over = false

    /** Whether the transaction has ended. */
    val isOver: Boolean get() = over

    override suspend fun execute(sql: String, vararg params: Any?): Long = call { held.execute(sql, params.toSql()) }

    override suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(call { held.query(sql, params.toSql()) })

    override suspend fun batch(statements: List<Statement>): List<Long> =
        call { held.batch(statements.map(Statement::toFfi)) }

    override suspend fun <T> savepoint(body: suspend (Transaction) -> T): T {
        // Not cancellable: otherwise a savepoint whose number is lost could stay open.
        val part = withContext(NonCancellable) { call { held.savepoint() } }
        // A savepoint that cannot be ended stays open, and the engine does not commit it.
        return ending(body, keep = { held.release(part) }, undo = { held.rollbackTo(part) })
    }

    /** The id of the mutation that an edit produced, after the commit. */
    fun edited(): String? = translated { held.edited() }

    suspend fun <T> run(body: suspend (Transaction) -> T): T =
        ending(body, keep = { held.commit() }, undo = { held.rollback() })

    /** Releases the handle, which rolls back a transaction that has not ended. */
    fun end() {
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

/** A snapshot of the engine. */
internal class HeldSnapshotBody(private val held: HeldSnapshot) : Snapshot {
    @Volatile
    private var over = false

    override suspend fun query(sql: String, vararg params: Any?): RowBuffer {
        if (over) throw RejoinException.InvalidInput("the snapshot has ended; begin a new one")
        return RowBuffer.fromBytes(crossing { held.query(sql, params.toSql()) })
    }

    /** Releases the handle and its read connection. */
    fun end() {
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
