/*
 * Translates errors at the FFI boundary, in both directions.
 *
 * A new error of the bindings does not compile until it is translated here, and ErrorKindTest fails until it is
 * translated back. An app's exception crosses the boundary as its class name and message.
 */
package dev.rejoin

import dev.rejoin.ffi.ColumnValue
import dev.rejoin.ffi.InternalException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ExecutorCoroutineDispatcher
import kotlinx.coroutines.MainCoroutineDispatcher
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withContext
import kotlin.coroutines.ContinuationInterceptor
import kotlin.coroutines.CoroutineContext
import kotlin.coroutines.cancellation.CancellationException
import kotlin.time.Duration.Companion.milliseconds
import dev.rejoin.ffi.ActionFault as FfiActionFault
import dev.rejoin.ffi.ChangedRow as FfiChangedRow
import dev.rejoin.ffi.RejoinException as FfiException

/** Runs [block] and rethrows errors of the bindings as [RejoinException]. */
internal inline fun <T> translated(block: () -> T): T =
    try {
        block()
    } catch (error: FfiException) {
        throw error.toPublic()
    } catch (error: InternalException) {
        // A panic of the engine, caught at the FFI boundary.
        throw RejoinException.Internal(error.message ?: "the engine panicked")
    } catch (error: LinkageError) {
        throw withoutLibrary(error)
    }

/** The library is missing, or made for another processor. The JVM reports it once as its own error, then as others. */
internal fun withoutLibrary(error: LinkageError): RejoinException {
    val cause = generateSequence<Throwable>(error) { it.cause }.last()
    return RejoinException.Configuration(
        "the native library rejoin_ffi cannot be loaded: ${cause.message?.lineSequence()?.first() ?: cause}; on Android, depend on " +
            "dev.rejoin:rejoin-android and package the device's ABI (jniLibs, abiFilters); on the JVM, depend on " +
            "dev.rejoin:rejoin-host or set -Djna.library.path to its folder",
        error,
    )
}

/**
 * Threads that the app's own work does not occupy: a call that blocks all threads of `Dispatchers.Default` while it waits for
 * the engine still gets its answer, and the engine the answers of the app's callbacks.
 */
internal val away = Dispatchers.IO.limitedParallelism(64)

/**
 * Runs [block], which calls the engine and waits for it; errors as in [translated].
 *
 * The engine resumes the waiting coroutine on its own thread while it holds a lock. A coroutine that continued on that
 * thread (`Dispatchers.Unconfined`, no dispatcher, or that of an executor which runs its tasks at once, as WorkManager has
 * in tests) could take the same lock again and deadlock, so it continues on [away].
 *
 * If the coroutine is cancelled on its way back, [giveBack] receives the result that is not delivered.
 */
internal suspend fun <T> crossing(giveBack: (T) -> Unit = {}, block: suspend () -> T): T {
    val context = currentCoroutineContext()
    if ((context[ContinuationInterceptor] as? CoroutineDispatcher)?.goesElsewhere(context) == true) return translated { block() }
    var made: Result<T>? = null
    try {
        return translated { withContext(away) { block().also { made = Result.success(it) } } }
    } catch (cancelled: CancellationException) {
        made?.onSuccess(giveBack)
        throw cancelled
    }
}

/**
 * Runs [block], which uses the disk and waits for nothing else, on a thread that may block; errors as in [translated].
 *
 * On a thread of `Dispatchers.Default` or `IO` it runs at once: changing the thread and back takes longer than a small write.
 */
internal suspend fun <T> onDisk(block: () -> T): T =
    translated {
        val context = currentCoroutineContext()
        when (context[ContinuationInterceptor]) {
            Dispatchers.Default, Dispatchers.IO -> {
                context.ensureActive()
                block()
            }
            else -> withContext(away) { block() }
        }
    }

/** Whether a coroutine continues on another thread than the one that resumes it, if that is the engine's. */
private fun CoroutineDispatcher.goesElsewhere(context: CoroutineContext): Boolean =
    when {
        // May skip dispatching, but only on its own thread.
        this is MainCoroutineDispatcher -> true
        this === Dispatchers.Default || this === Dispatchers.IO -> true
        // An executor may run a task at once.
        else -> this !is ExecutorCoroutineDispatcher && isDispatchNeeded(context)
    }

internal fun FfiException.toPublic(): RejoinException =
    when (this) {
        is FfiException.InvalidInput -> RejoinException.InvalidInput(reason)
        is FfiException.Action -> RejoinException.Action(reason, action, fault.toPublic(), detail)
        is FfiException.ActionTooSlow -> RejoinException.ActionTooSlow(reason, action, limitMs.toLong().milliseconds)
        is FfiException.ActionTooLarge -> RejoinException.ActionTooLarge(reason, action, limitBytes.toLong())
        is FfiException.ParentParked -> RejoinException.ParentParked(reason, id)
        is FfiException.Unsent -> RejoinException.Unsent(reason, waiting.toLong())
        is FfiException.Changed -> RejoinException.Changed(reason, rows.map { it.toPublic() })
        is FfiException.Constraint -> RejoinException.Constraint(reason, table, column, rule)
        is FfiException.Storage -> RejoinException.Storage(reason)
        is FfiException.WrongUser -> RejoinException.WrongUser(reason)
        is FfiException.Configuration -> RejoinException.Configuration(reason)
        is FfiException.Suspended -> RejoinException.Suspended(reason)
        is FfiException.Closed -> RejoinException.Closed(reason)
        is FfiException.TransactionTimeout -> RejoinException.TransactionTimeout(reason)
        is FfiException.Offline -> RejoinException.Offline(reason)
        is FfiException.Unauthorized -> RejoinException.Unauthorized(reason)
        is FfiException.UpgradeRequired -> RejoinException.UpgradeRequired(reason)
        is FfiException.Server -> RejoinException.Server(reason, status.toInt(), code, retryable)
        is FfiException.SubscriptionRefused -> RejoinException.SubscriptionRefused(reason, stream, refusal.toPublic(), detail)
        is FfiException.Protocol -> RejoinException.Protocol(reason)
        is FfiException.Callback -> RejoinException.Callback(reason)
        is FfiException.Internal -> RejoinException.Internal(reason)
    }

/**
 * Translates what an action's code threw: the engine's own errors go back unchanged, so that the engine recognises them.
 */
internal fun RejoinException.toFfi(): FfiException =
    when (this) {
        is RejoinException.InvalidInput -> FfiException.InvalidInput(reason)
        is RejoinException.Action -> FfiException.Action(reason, action, fault.toFfi(), detail)
        is RejoinException.ActionTooSlow -> FfiException.ActionTooSlow(reason, action, limit.inWholeMilliseconds.toUInt())
        is RejoinException.ActionTooLarge -> FfiException.ActionTooLarge(reason, action, limitBytes.toUInt())
        is RejoinException.ParentParked -> FfiException.ParentParked(reason, id)
        is RejoinException.Constraint -> FfiException.Constraint(reason, table, column, rule)
        is RejoinException.Storage -> FfiException.Storage(reason)
        is RejoinException.WrongUser -> FfiException.WrongUser(reason)
        is RejoinException.Configuration -> FfiException.Configuration(reason)
        is RejoinException.Suspended -> FfiException.Suspended(reason)
        is RejoinException.Closed -> FfiException.Closed(reason)
        is RejoinException.TransactionTimeout -> FfiException.TransactionTimeout(reason)
        is RejoinException.Offline -> FfiException.Offline(reason)
        is RejoinException.Unauthorized -> FfiException.Unauthorized(reason)
        is RejoinException.UpgradeRequired -> FfiException.UpgradeRequired(reason)
        is RejoinException.SubscriptionRefused -> FfiException.SubscriptionRefused(reason, stream, refusal.toFfi(), detail)
        is RejoinException.Protocol -> FfiException.Protocol(reason)
        is RejoinException.Callback -> FfiException.Callback(reason)
        is RejoinException.Internal -> FfiException.Internal(reason)
        is RejoinException.Unsent -> FfiException.Unsent(reason, waiting.toUInt())
        is RejoinException.Changed -> FfiException.Changed(reason, rows.map { it.toFfi() })
        is RejoinException.Server -> FfiException.Server(reason, status.toUShort(), serverCode, retryable)
        else -> FfiException.Callback(toString())
    }

private fun FfiChangedRow.toPublic(): ChangedRow {
    val values = { row: List<ColumnValue> -> row.associate { it.name to it.value.toKotlin() } }
    return ChangedRow(table, key.toKotlin(), columns, wrote?.let(values), present?.let(values))
}

private fun ChangedRow.toFfi(): FfiChangedRow {
    val values = { row: Map<String, Any?> -> row.map { (name, value) -> ColumnValue(name, value.toSql { "column $name" }) } }
    return FfiChangedRow(table, key.toSql { "key" }, columns, wrote?.let(values), present?.let(values))
}

private fun FfiActionFault.toPublic(): ActionFault =
    when (this) {
        FfiActionFault.UNKNOWN -> ActionFault.UNKNOWN
        FfiActionFault.ARGUMENTS -> ActionFault.ARGUMENTS
        FfiActionFault.REFUSED -> ActionFault.REFUSED
        FfiActionFault.SAME_ROW -> ActionFault.SAME_ROW
        FfiActionFault.TIMED_OUT -> ActionFault.TIMED_OUT
    }

private fun ActionFault.toFfi(): FfiActionFault =
    when (this) {
        ActionFault.UNKNOWN -> FfiActionFault.UNKNOWN
        ActionFault.ARGUMENTS -> FfiActionFault.ARGUMENTS
        ActionFault.REFUSED -> FfiActionFault.REFUSED
        ActionFault.SAME_ROW -> FfiActionFault.SAME_ROW
        ActionFault.TIMED_OUT -> FfiActionFault.TIMED_OUT
    }

/** Runs a function of the app for the engine. */
internal inline fun <T> answered(block: () -> T): T =
    try {
        block()
    } catch (error: CancellationException) {
        throw error
    } catch (error: RejoinException.Offline) {
        throw FfiException.Offline(error.reason)
    } catch (error: Throwable) {
        // Errors too: an AssertionError in a callback must not end the engine's thread.
        throw FfiException.Callback(error.toString())
    }
