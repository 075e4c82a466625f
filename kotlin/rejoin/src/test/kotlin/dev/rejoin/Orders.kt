/*
 * Orders of events: all of them, and a watchdog for what a single one may take.
 */
package dev.rejoin

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.flow.asFlow
import kotlinx.coroutines.flow.count
import kotlinx.coroutines.flow.flatMapMerge
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withTimeout
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** Every order of [events] that keeps those of [chain] in theirs. */
fun <E> orders(events: List<E>, chain: List<E>): Sequence<List<E>> =
    sequence {
        if (events.isEmpty()) yield(emptyList())
        for (first in events) {
            val waiting = chain.filter { it in events }
            if (first in waiting && first != waiting[0]) continue
            for (rest in orders(events - first, chain)) yield(listOf(first) + rest)
        }
    }

/** Runs each order, several at a time, because each mostly waits; how many there were. */
@OptIn(ExperimentalCoroutinesApi::class)
suspend fun <O> eachOf(orders: List<O>, run: suspend (O) -> Unit): Int =
    orders.asFlow().flatMapMerge(concurrency = 6) { flow { emit(run(it)) } }.count()

/** What happened in an order that may not happen. */
class Broken(message: String) : AssertionError(message)

/** Runs one order; what takes longer is stuck, and says where. */
suspend fun <T> guarded(name: () -> String, watchdog: Duration = 30.seconds, run: suspend () -> T): T =
    try {
        withTimeout(watchdog) { run() }
    } catch (_: TimeoutCancellationException) {
        throw Broken("${name()}: stuck")
    }

/** A place in a handler where it waits until the order of events lets it go on. */
class Gate {
    private val reached = CompletableDeferred<Unit>()
    private val opened = CompletableDeferred<Unit>()

    suspend fun pass() {
        reached.complete(Unit)
        opened.await()
    }

    fun open() = opened.complete(Unit)

    val arrived: CompletableDeferred<Unit> get() = reached
}
