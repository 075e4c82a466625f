/*
 * One run of an action's code.
 *
 * The engine calls it on one of its own threads and waits. Here it becomes a coroutine whose context marks the
 * action, so that a client call that would wait for the action is rejected at once. Exceptions are translated so that
 * the engine recognises its own errors.
 */
package dev.rejoin

import dev.rejoin.ffi.ActionHandler
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.jsonObject
import java.util.concurrent.atomic.AtomicReference
import kotlin.coroutines.EmptyCoroutineContext
import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Instant
import dev.rejoin.ffi.ActionContext as FfiActionContext
import dev.rejoin.ffi.RejoinException as FfiException

/**
 * The context of one run of an action: access to the rows of its transaction, and a time and ids that are the same in
 * each run.
 *
 * Anything that could differ between runs is rejected: tables that are not synced, random values, clocks, connection
 * counters and rowids. Valid until the code returns.
 */
public class ActionContext internal constructor(
    private val action: String,
    private val ffi: FfiActionContext,
    private val home: ActionHome,
) {
    @Volatile
    private var over = false

    /** Whether the run has ended. */
    internal val isOver: Boolean get() = over

    /** When the action was performed. `rejoin_now()` in its statements returns the same instant. */
    public val time: Instant = Instant.fromEpochMilliseconds(ffi.timeMs())

    /** [time] as text in the format of all columns: `2026-01-02T03:04:05.000000Z`. */
    public val timeText: String = ffi.time()

    /** The id of this run's mutation. */
    public val mutationId: String = ffi.mutationId()

    /**
     * Runs one statement and returns the number of changed rows.
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or uses something that actions may not
     *   use; the action can continue.
     * @throws RejoinException.Constraint if a declared rule is violated; the action can continue.
     * @throws RejoinException.TransactionTimeout if the action ran no statement for too long; it is cancelled.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long = call { ffi.execute(sql, params.toSql()) }

    /** As the other [execute], with a [Statement]. */
    public suspend fun execute(statement: Statement): Long = execute(statement.sql, *statement.params)

    /**
     * Returns the rows of a statement, which may also write (`RETURNING`). It sees the action's writes. Use
     * `ORDER BY` if more than one row is possible.
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(call { ffi.query(sql, params.toSql()) })

    /**
     * Returns the rows of a statement, each converted to a [T].
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * Returns the id for a row of [table] that this action creates: the same in each run, different for each action.
     *
     * @param row at least the columns of the table's identity ([Actions.identity]), or the input of its
     *   [Actions.projection]; with values of the types that [RejoinClient.perform] accepts.
     * @throws RejoinException.Action if this run already received the same id; the action is rolled back.
     * @throws RejoinException.InvalidInput if the table has no identity, or a column of it is missing.
     */
    public suspend fun rowId(table: String, vararg row: Pair<String, Any?>): String {
        val given = row.toMap()
        val identity = home.projections[table.lowercase()]?.invoke(given) ?: given
        val json = identity.toJson { "a row of $table" }.toString()
        return call { ffi.rowId(table, json) }
    }

    /**
     * Rejects the action with a message for the user; the action is rolled back.
     *
     * @throws RejoinException.Action always.
     */
    public fun refuse(detail: String): Nothing =
        throw RejoinException.Action("action $action: $detail", action, ActionFault.REFUSED, detail)

    /** Releases the handle. */
    internal fun end() {
        over = true
        ffi.destroy()
    }

    private suspend fun <T> call(call: suspend () -> T): T {
        if (over) throw RejoinException.InvalidInput("action $action has ended")
        return crossing(block = call)
    }
}

/** The open file that a registry of actions belongs to. */
internal class ActionHome {
    /** The path, set once the file is open. */
    @Volatile
    var path: String? = null

    /** The projections by table; complete before the file is opened. */
    val projections = mutableMapOf<String, (Map<String, Any?>) -> Map<String, Any?>>()

    private val thrown = AtomicReference<Throwable>()

    /** Stores what an action's code threw for the caller of `perform`: only messages cross the FFI boundary. */
    fun threw(error: Throwable) = thrown.set(error)

    /** Returns the error with the stored exception as its cause, if the error is about it. */
    fun explained(error: RejoinException.Callback): RejoinException.Callback {
        val last = thrown.getAndSet(null)?.takeIf { error.reason.endsWith(": $it") } ?: return error
        return RejoinException.Callback(error.reason, last)
    }
}

/** An action's code as the engine calls it. */
internal class RunningAction(
    private val name: String,
    private val home: ActionHome,
    private val code: suspend (ActionContext, ActionArguments) -> JsonElement,
) : ActionHandler {
    override suspend fun run(context: FfiActionContext, argumentsJson: String): String {
        val own = ActionContext(name, context, home)
        try {
            val given = ActionArguments(name, Json.parseToJsonElement(argumentsJson).jsonObject)
            val outer = currentCoroutineContext()[InsideTransaction]
            val inside = home.path?.let { InsideTransaction(it, { own.isOver }, outer) }
            return withContext(inside ?: EmptyCoroutineContext) { code(own, given) }.toString()
        } catch (error: RejoinException) {
            throw error.toFfi()
        } catch (error: Throwable) {
            if (error is CancellationException && !currentCoroutineContext().isActive) throw error // The engine no longer waits.
            // Errors too: an AssertionError in an action must not end the engine's thread.
            home.threw(error)
            throw FfiException.Callback(error.toString())
        } finally {
            own.end()
        }
    }
}
