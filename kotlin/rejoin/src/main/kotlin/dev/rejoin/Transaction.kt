/*
 * Transactions and snapshots that coroutines hold.
 *
 * The engine's writer serves a transaction between its begin and its end, whatever the coroutine waits for meanwhile. It ends in
 * exactly one of two ways: the body returned and the commit was done, or nothing happened. The coroutine's context remembers
 * the transaction, so that a call which would wait for itself is refused at once instead of standing still.
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
 * A transaction at hand; what [RejoinClient.transaction] gives to its body, valid until the body ends.
 *
 * It sees what it wrote; others do not before the commit. All it writes to synced tables is one mutation, which the server
 * accepts or refuses as a whole. Statements are done in the order in which they are given; give them one after the other.
 */
public class Transaction internal constructor(private val held: HeldTransaction) {
    @Volatile
    private var over = false

    /** Whether nothing can be done in it any more. */
    internal val isOver: Boolean get() = over

    /**
     * Runs one statement, and tells how many rows it changed.
     *
     * @throws RejoinException.InvalidInput if it does not compile or is not allowed; the transaction goes on without it.
     * @throws RejoinException.Constraint if a declared rule does not hold; the transaction goes on without it.
     * @throws RejoinException.TransactionTimeout if the transaction stood still for too long.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long = call { held.execute(sql, params.toSql()) }

    /**
     * The rows of a query or of a statement that writes and gives rows (`RETURNING`).
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(call { held.query(sql, params.toSql()) })

    /**
     * The rows of a query, each made into a [T].
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * Runs several statements in one crossing, all or none of them, and tells how many rows each changed.
     *
     * @throws RejoinException as [execute]; the transaction goes on without any of them.
     */
    public suspend fun batch(statements: List<Statement>): List<Long> =
        call { held.batch(statements.map(Statement::toFfi)) }

    /**
     * A part that can fail alone: an exception in [body], or the coroutine's cancellation, undoes what the part wrote and
     * nothing else. Parts nest. Run one at a time: a part that ends while one inside it is open throws
     * [RejoinException.InvalidInput], and a transaction whose body returns while a part is still open is rolled back and throws it.
     *
     * ```kotlin
     * client.transaction { tx ->
     *     tx.execute("INSERT INTO task(id, title) VALUES ('t1', 'buy milk')")
     *     runCatching { tx.savepoint { it.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 'nobody', 'x')") } }
     * }
     * ```
     */
    public suspend fun <T> savepoint(body: suspend (Transaction) -> T): T {
        // Not cancellable, or a savepoint whose number nobody knows could be left open.
        val part = withContext(NonCancellable) { call { held.savepoint() } }
        // What cannot be ended stays open, and the engine does not commit it.
        return ending(body, keep = { held.release(part) }, undo = { held.rollbackTo(part) })
    }

    /** The mutation that an edit has become, once it is committed. */
    internal fun edited(): String? = translated { held.edited() }

    internal suspend fun <T> run(body: suspend (Transaction) -> T): T =
        ending(body, keep = { held.commit() }, undo = { held.rollback() })

    /** Gives the handle back; a transaction that was not ended is rolled back by that. */
    internal fun end() {
        over = true
        held.destroy()
    }

    private suspend fun <T> call(call: suspend () -> T): T {
        if (over) throw RejoinException.InvalidInput("the transaction is over; begin a new one")
        return crossing(block = call)
    }

    /** Runs [body], then exactly one of [keep] and [undo]; whoever is cancelled before [keep] begins gets [undo]. */
    private suspend fun <T> ending(
        body: suspend (Transaction) -> T,
        keep: suspend () -> Unit,
        undo: suspend () -> Unit,
    ): T {
        val result =
            try {
                body(this).also { currentCoroutineContext().ensureActive() }
            } catch (why: Throwable) {
                // Has it ended by itself (timeout, suspension, shutdown), there is nothing to undo, and `why` tells more.
                runCatching { withContext(NonCancellable) { crossing(block = undo) } }
                throw why
            }
        withContext(NonCancellable) { crossing(block = keep) }
        return result
    }
}

/**
 * One state of the database, whatever is written meanwhile; what [RejoinClient.read] gives to its body, valid until the body
 * ends.
 */
public class Snapshot internal constructor(private val held: HeldSnapshot) {
    @Volatile
    private var over = false

    /**
     * The rows of a query.
     *
     * @throws RejoinException.InvalidInput if it does not compile, or writes.
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer {
        if (over) throw RejoinException.InvalidInput("the snapshot is over; begin a new one")
        return RowBuffer.fromBytes(crossing { held.query(sql, params.toSql()) })
    }

    /**
     * The rows of a query, each made into a [T].
     *
     * @throws RejoinException.InvalidInput if it does not compile, or writes.
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /** Gives the handle back, and with it the reader. */
    internal fun end() {
        over = true
        held.destroy()
    }
}

/** Marks a coroutine that is inside a transaction or an action on a file, and its children, as long as that is not [over]. */
internal class InsideTransaction(
    private val path: String,
    private val over: () -> Boolean,
    private val outer: InsideTransaction?,
) : AbstractCoroutineContextElement(InsideTransaction) {
    companion object Key : CoroutineContext.Key<InsideTransaction>

    /** Whether this coroutine holds the writer of the file: two clients of one file share it. */
    fun holds(file: String): Boolean = (path == file && !over()) || outer?.holds(file) == true
}

/** Refuses at once what would wait for this coroutine's own transaction on the file. */
internal suspend fun refuseInside(path: String) {
    if (currentCoroutineContext()[InsideTransaction]?.holds(path) == true) {
        throw RejoinException.InvalidInput(
            "called from inside a transaction, for whose end it would wait; use the methods of the transaction, or of the action's context",
        )
    }
}
