/*
 * What concerns all clients of the process: the engine's log.
 */
package dev.rejoin

import dev.rejoin.ffi.LogSink
import dev.rejoin.ffi.setLogSink
import kotlin.time.Instant
import dev.rejoin.ffi.LogLevel as FfiLogLevel
import dev.rejoin.ffi.LogRecord as FfiLogRecord

/** How much is logged, from the least to the most. */
public enum class LogLevel {
    /** What went wrong and should not. */
    ERROR,

    /** What went wrong and was mended or will be tried again. */
    WARN,

    /** What the engine does, a line per deed. */
    INFO,

    /** What it decides on the way. */
    DEBUG,

    /** Everything. */
    TRACE,
}

/**
 * A line of the log.
 *
 * @property level how grave it is.
 * @property at when.
 * @property target the part of the engine that speaks.
 * @property text what it says.
 * @property fields what belongs to it: names and values, in words.
 */
public data class LogRecord(
    val level: LogLevel,
    val at: Instant,
    val target: String,
    val text: String,
    val fields: Map<String, String>,
)

/** Takes the engine's log. Called on one thread, one call after the other; what it throws is dropped. */
public fun interface RejoinLogger {
    /** Takes one record. */
    public fun log(record: LogRecord)
}

/** What concerns all clients of the process. */
public object Rejoin {
    /**
     * Hands the engine's log to [logger] from now on, in place of the one before; with null nothing is logged.
     *
     * Whoever logs in the engine never waits: records go through a bounded queue, and those that a slow logger loses are
     * counted in the next record.
     *
     * ```kotlin
     * Rejoin.setLogger(LogLevel.INFO) { println("${it.level} ${it.target}: ${it.text}") }
     * ```
     */
    public fun setLogger(level: LogLevel, logger: RejoinLogger?): Unit =
        translated {
            val sink =
                logger?.let {
                    object : LogSink {
                        override fun onLog(record: FfiLogRecord) = answered { it.log(record.toPublic()) }
                    }
                }
            setLogSink(level.toFfi(), sink)
        }
}

private fun FfiLogRecord.toPublic(): LogRecord =
    LogRecord(level.toPublic(), instant(at), target, text, fields.associate { it.name to it.value })

private fun FfiLogLevel.toPublic(): LogLevel =
    when (this) {
        FfiLogLevel.ERROR -> LogLevel.ERROR
        FfiLogLevel.WARN -> LogLevel.WARN
        FfiLogLevel.INFO -> LogLevel.INFO
        FfiLogLevel.DEBUG -> LogLevel.DEBUG
        FfiLogLevel.TRACE -> LogLevel.TRACE
    }

private fun LogLevel.toFfi(): FfiLogLevel =
    when (this) {
        LogLevel.ERROR -> FfiLogLevel.ERROR
        LogLevel.WARN -> FfiLogLevel.WARN
        LogLevel.INFO -> FfiLogLevel.INFO
        LogLevel.DEBUG -> FfiLogLevel.DEBUG
        LogLevel.TRACE -> FfiLogLevel.TRACE
    }
