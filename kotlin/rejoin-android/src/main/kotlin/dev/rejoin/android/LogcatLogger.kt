/*
 * The engine's log in Logcat.
 */
package dev.rejoin.android

import android.util.Log
import dev.rejoin.LogLevel
import dev.rejoin.LogRecord
import dev.rejoin.Rejoin
import dev.rejoin.RejoinLogger

/**
 * Writes the engine's log to Logcat, with the tag `Rejoin`. It contains no row data and no tokens.
 *
 * ```kotlin
 * Rejoin.setLogger(LogLevel.DEBUG, LogcatLogger)
 * ```
 */
public object LogcatLogger : RejoinLogger {
    override fun log(record: LogRecord) {
        val fields = record.fields.entries.joinToString("") { " ${it.key}=${it.value}" }
        Log.println(priority(record.level), "Rejoin", "${record.target}: ${record.text}$fields")
    }

    private fun priority(level: LogLevel): Int =
        when (level) {
            LogLevel.ERROR -> Log.ERROR
            LogLevel.WARN -> Log.WARN
            LogLevel.INFO -> Log.INFO
            LogLevel.DEBUG -> Log.DEBUG
            LogLevel.TRACE -> Log.VERBOSE
        }
}
