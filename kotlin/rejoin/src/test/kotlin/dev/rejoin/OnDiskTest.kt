/*
 * The thread on which a write runs: never one that must not block, and no change of threads where it is not needed.
 */
package dev.rejoin

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotSame
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.Executor
import kotlin.coroutines.cancellation.CancellationException

class OnDiskTest {
    @Test
    fun `another thread uses the disk for a caller that must not block`() =
        runBlocking {
            val atOnce = Executor { it.run() }.asCoroutineDispatcher()
            for (dispatcher in listOf(coroutineContext, Dispatchers.Unconfined, atOnce)) {
                withContext(dispatcher) { assertNotSame(Thread.currentThread(), onDisk { Thread.currentThread() }, "$dispatcher") }
            }
        }

    @Test
    fun `threads of Default and IO use the disk themselves`() =
        runBlocking {
            for (dispatcher in listOf(Dispatchers.Default, Dispatchers.IO)) {
                withContext(dispatcher) { assertSame(Thread.currentThread(), onDisk { Thread.currentThread() }, "$dispatcher") }
            }
        }

    @Test
    fun `a cancelled caller writes nothing`() =
        runBlocking {
            for (dispatcher in listOf(coroutineContext, Dispatchers.Default)) {
                var ran = false
                assertThrows<CancellationException> {
                    coroutineScope {
                        withContext(dispatcher) {
                            cancel()
                            onDisk { ran = true }
                        }
                    }
                }
                assertFalse(ran, "$dispatcher")
            }
        }
}
