/*
 * What all clients of the process share: the engine's log, and its threads in the JVM.
 */
package dev.rejoin

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native
import dev.rejoin.ffi.LogSink
import dev.rejoin.ffi.setLogSink
import dev.rejoin.ffi.uniffiRustFutureContinuationCallbackImpl
import kotlin.time.Instant
import dev.rejoin.ffi.LogLevel as FfiLogLevel
import dev.rejoin.ffi.LogRecord as FfiLogRecord

/** The log level, from least to most verbose. */
public enum class LogLevel {
    /** Failures that should not happen. */
    ERROR,

    /** Failures that were corrected or will be retried. */
    WARN,

    /** Operations, one line each. */
    INFO,

    /** Decisions within operations. */
    DEBUG,

    /** Everything. */
    TRACE,
}

/**
 * A log record.
 *
 * @property level the log level.
 * @property at the time of the record.
 * @property target the part of the engine that logs.
 * @property text the message.
 * @property fields additional names and values.
 */
public data class LogRecord(
    val level: LogLevel,
    val at: Instant,
    val target: String,
    val text: String,
    val fields: Map<String, String>,
)

/** Receives the engine's log. Called on one thread, one call at a time; its exceptions are dropped. */
public fun interface RejoinLogger {
    /** Receives one record. */
    public fun log(record: LogRecord)
}

/** Settings for all clients of the process. */
public object Rejoin {
    /**
     * Sends the engine's log to [logger] in place of the previous one; null turns logging off.
     *
     * Logging never blocks the engine: records go through a bounded queue, and the next record counts those that were
     * dropped.
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

/**
 * Attaches the engine's threads to the JVM, once per process.
 *
 * A thread must be attached to call into the JVM. JNA attaches and detaches at every call, which costs more than the
 * call itself. Here a thread stays attached until it ends. Attached threads are daemons: an open client does not keep
 * the process alive.
 */
internal object EngineThreads {
    init {
        val stays = CallbackThreadInitializer(true, false, "rejoin")
        Native.setCallbackThreadInitializer(uniffiRustFutureContinuationCallbackImpl, stays)
    }

    /** Triggers the initialisation. */
    fun prepare(): Unit = Unit
}

private fun FfiLogRecord.toPublic(): LogRecord =
    LogRecord(level.toPublic(), Instant.fromEpochMilliseconds(atMs), target, text, fields.associate { it.name to it.value })

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
