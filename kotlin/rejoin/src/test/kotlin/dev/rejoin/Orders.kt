/*
 * Generates all orders of events, and runs each under a watchdog.
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

/** All orders of [events] that keep the order of [chain]. */
fun <E> orders(events: List<E>, chain: List<E>): Sequence<List<E>> =
    sequence {
        if (events.isEmpty()) yield(emptyList())
        for (first in events) {
            val waiting = chain.filter { it in events }
            if (first in waiting && first != waiting[0]) continue
            for (rest in orders(events - first, chain)) yield(listOf(first) + rest)
        }
    }

/** Whether all orders run: each run of the gate takes a fourth of them. */
val isDeep: Boolean = (System.getenv("REJOIN_CASES")?.toIntOrNull() ?: 1) > 1

/** Each ending with a fourth of the orders, which is another fourth for the next ending. */
fun <O, E> sample(orders: List<O>, endings: List<E>): List<Pair<O, E>> =
    endings.flatMapIndexed { shift, ending ->
        orders.filterIndexed { number, _ -> isDeep || number % 4 == shift % 4 }.map { it to ending }
    }

/** Runs all orders, several concurrently because they mostly wait; returns their number. */
@OptIn(ExperimentalCoroutinesApi::class)
suspend fun <O> eachOf(orders: List<O>, run: suspend (O) -> Unit): Int =
    orders.asFlow().flatMapMerge(concurrency = 6) { flow { emit(run(it)) } }.count()

/** A violation found in one order. */
class Broken(message: String) : AssertionError(message)

/** Runs one order under a watchdog, which reports the order. */
suspend fun <T> guarded(name: () -> String, watchdog: Duration = 30.seconds, run: suspend () -> T): T =
    try {
        withTimeout(watchdog) { run() }
    } catch (_: TimeoutCancellationException) {
        throw Broken("${name()}: stuck")
    }

/** A point in a handler at which it waits until the test opens the gate. */
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
