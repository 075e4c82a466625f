/*
 * The resources that the process uses, from /proc/self.
 */
package dev.rejoin

import java.io.File
import java.lang.management.ManagementFactory
import java.lang.ref.Cleaner
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit

/**
 * @property heap live objects in MB.
 * @property native resident memory in MB, without the JVM's heap and code.
 */
data class Footprint(val threads: Int, val descriptors: Int, val heap: Long, val native: Long) {
    companion object {
        fun now(): Footprint {
            repeat(3) { collected() }
            val status = File("/proc/self/status").readLines().associate { line -> line.substringBefore(':') to line.substringAfter(':').trim() }
            val memory = ManagementFactory.getMemoryMXBean()
            val own = memory.heapMemoryUsage.committed + memory.nonHeapMemoryUsage.committed
            return Footprint(
                threads = status.getValue("Threads").toInt(),
                descriptors = File("/proc/self/fd").list().orEmpty().size,
                heap = memory.heapMemoryUsage.used / MB,
                native = (status.getValue("VmRSS").substringBefore(' ').toLong() * 1024 - own) / MB,
            )
        }

        /** Returns after a garbage collection and a cleaner run, which frees objects of the FFI boundary. */
        private fun collected() {
            val cleaned = CountDownLatch(1)
            CLEANER.register(Any()) { cleaned.countDown() }
            do System.gc() while (!cleaned.await(100, TimeUnit.MILLISECONDS))
        }

        private val CLEANER = Cleaner.create()
        private const val MB = 1L shl 20
    }
}
