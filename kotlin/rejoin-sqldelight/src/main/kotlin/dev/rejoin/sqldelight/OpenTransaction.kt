/*
 * A transaction of the client that stays open between two calls: SQLDelight begins and ends a transaction by separate
 * calls, the client runs a body.
 *
 * The body runs in a coroutine that waits for the decision. It never blocks its thread, so two threads are enough for all
 * of them. The commit has succeeded, or the error is thrown, when `end` returns.
 */
package dev.rejoin.sqldelight

import dev.rejoin.RejoinDatabase
import dev.rejoin.Transaction
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withContext
import kotlin.coroutines.ContinuationInterceptor
import kotlin.coroutines.CoroutineContext
import kotlin.coroutines.cancellation.CancellationException

internal class OpenTransaction private constructor(
    val transaction: Transaction,
    /** Marks a coroutine as inside the transaction, so that the client rejects calls that would wait for it. */
    val context: CoroutineContext,
    private val decision: CompletableDeferred<Boolean>,
    private val ended: Deferred<Unit>,
) {
    val isOver: Boolean get() = ended.isCompleted

    /** Commits or rolls back. Throws before a commit if the coroutine is cancelled; [abandon] then rolls back. */
    suspend fun end(successful: Boolean) {
        if (successful) currentCoroutineContext().ensureActive()
        decision.complete(successful)
        withContext(NonCancellable) { ended.await() }
    }

    /** Rolls back, unless [end] was called. */
    suspend fun abandon() {
        if (decision.complete(false)) withContext(NonCancellable) { ended.await() }
    }

    /** Ends the body without a commit. */
    private class RolledBack : Exception()

    companion object {
        private val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO.limitedParallelism(2, "rejoin-sqldelight-hold"))

        /** Waits for the writer. A caller that is cancelled meanwhile leaves no transaction behind. */
        suspend fun begin(database: RejoinDatabase): OpenTransaction {
            val begun = CompletableDeferred<Pair<Transaction, CoroutineContext>>()
            val decision = CompletableDeferred<Boolean>()
            // With the caller's context: the client rejects a call from inside its own transaction.
            val caller = currentCoroutineContext().minusKey(Job).minusKey(ContinuationInterceptor)
            val ended = scope.async(caller) { hold(database, begun, decision) }
            ended.invokeOnCompletion { error -> begun.completeExceptionally(error ?: RolledBack()) }
            try {
                val (transaction, context) = begun.await()
                return OpenTransaction(transaction, context, decision, ended)
            } catch (cancelled: CancellationException) {
                ended.cancel()
                throw cancelled
            }
        }

        private suspend fun hold(
            database: RejoinDatabase,
            begun: CompletableDeferred<Pair<Transaction, CoroutineContext>>,
            decision: Deferred<Boolean>,
        ) {
            try {
                database.transaction { transaction ->
                    begun.complete(transaction to currentCoroutineContext().minusKey(Job).minusKey(ContinuationInterceptor))
                    if (!decision.await()) throw RolledBack()
                }
            } catch (_: RolledBack) {
                // As decided.
            }
        }
    }
}
