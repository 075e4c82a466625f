/*
 * One run of an action's code.
 *
 * The engine calls it on a thread of its own and waits; here it becomes a coroutine that knows where it is, so that a call of the
 * client which would wait for the action itself is refused at once. What it throws goes back so that the engine knows it again.
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
 * One run of an action, for as long as its code runs: the rows of its transaction, and a time and ids that are the same at each
 * run.
 *
 * What would be something else at another run is refused: tables that are not synced, chance, clocks, counters of the connection,
 * rowids.
 */
public class ActionContext internal constructor(
    private val action: String,
    private val ffi: FfiActionContext,
    private val home: ActionHome,
) {
    @Volatile
    private var over = false

    /** Whether nothing can be done in it any more. */
    internal val isOver: Boolean get() = over

    /** When the action was performed. In its statements `rejoin_now()` is the same instant. */
    public val time: Instant = Instant.fromEpochMilliseconds(ffi.timeMs())

    /** The same as text, as all columns write it: `2026-01-02T03:04:05.000000Z`. */
    public val timeText: String = ffi.time()

    /** The id of the mutation that this run makes, or made. */
    public val mutationId: String = ffi.mutationId()

    /**
     * Runs one statement, and tells how many rows it changed.
     *
     * @throws RejoinException.InvalidInput if it does not compile, or uses what an action may not use; the action goes on without it.
     * @throws RejoinException.Constraint if a declared rule does not hold; the action goes on without it.
     * @throws RejoinException.TransactionTimeout if the action was silent for too long: it is given up.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long = call { ffi.execute(sql, params.toSql()) }

    /**
     * The rows of a statement, which may also write (`RETURNING`); it sees what the action wrote. Say `ORDER BY` where more than one
     * row can come.
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(call { ffi.query(sql, params.toSql()) })

    /**
     * The rows of a statement, each made into a [T].
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * The id of a row of [table] that this action makes: the same at each run, and another one for each action.
     *
     * @param row at least the columns that are the table's identity ([Actions.identity]), or whatever its [Actions.projection] takes; of
     *   the kinds that [perform] takes.
     * @throws RejoinException.Action if this run was given the id already; nothing of the action is kept.
     * @throws RejoinException.InvalidInput if the table has no identity, or a column of it is missing.
     */
    public suspend fun rowId(table: String, vararg row: Pair<String, Any?>): String {
        val given = row.toMap()
        val identity = home.projections[table.lowercase()]?.invoke(given) ?: given
        val json = identity.toJson { "a row of $table" }.toString()
        return call { ffi.rowId(table, json) }
    }

    /**
     * Says no, in words for the user: nothing of the action is kept.
     *
     * @throws RejoinException.Action always.
     */
    public fun refuse(words: String): Nothing =
        throw RejoinException.Action("action $action: $words", action, ActionFault.REFUSED, words)

    /** Gives the handle back. */
    internal fun end() {
        over = true
        ffi.destroy()
    }

    private suspend fun <T> call(call: suspend () -> T): T {
        if (over) throw RejoinException.InvalidInput("action $action is over, and its context with it")
        return crossing(block = call)
    }
}

/** The file whose actions run, as they know it. */
internal class ActionHome {
    /** Its name, as soon as it is open. */
    @Volatile
    var path: String? = null

    /** What functions make of rows of these tables, for their ids; complete before the file is open. */
    val projections = mutableMapOf<String, (Map<String, Any?>) -> Map<String, Any?>>()

    private val thrown = AtomicReference<Throwable>()

    /** Keeps what an action's code has thrown for whoever performs it: only words cross the border. */
    fun threw(error: Throwable) = thrown.set(error)

    /** The same error, with what the code has thrown as its cause, if that is what it is about. */
    fun explained(error: RejoinException.Callback): RejoinException.Callback {
        val last = thrown.getAndSet(null)?.takeIf { error.reason.endsWith(": $it") } ?: return error
        return RejoinException.Callback(error.reason, last)
    }
}

/** An action's code, as the engine calls it. */
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
            if (error is CancellationException && !currentCoroutineContext().isActive) throw error // Nobody waits any more.
            // Errors too: an AssertionError in an action must not end the engine's thread.
            home.threw(error)
            throw FfiException.Callback(error.toString())
        } finally {
            own.end()
        }
    }
}
