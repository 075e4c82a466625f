/*
 * Conversion of Kotlin values to SQLite values.
 *
 * One table for all parameters. Other types are rejected by name; nothing is converted to text silently.
 */
package dev.rejoin

import dev.rejoin.ffi.SqlValue
import dev.rejoin.ffi.Statement as FfiStatement

/**
 * A statement and its parameter values, for [RejoinClient.execute], [RejoinClient.batch] and [RejoinClient.queryMany].
 *
 * ```kotlin
 * Statement("UPDATE task SET done = ? WHERE id = ?", true, "t1")
 * ```
 *
 * @property sql one SQL statement.
 * @property params a value for each `?`, in order: null, [Boolean] (0 or 1), [Byte], [Short], [Int], [Long], [Float],
 *   [Double], [String] or [ByteArray].
 */
public class Statement(public val sql: String, public vararg val params: Any?) {
    internal fun toFfi(): FfiStatement = FfiStatement(sql, params.toSql())

    override fun toString(): String = "Statement($sql, ${params.size} params)"
}

/** Converts the value for each `?`. */
internal fun Array<out Any?>.toSql(): List<SqlValue> = mapIndexed { number, value -> value.toSql { "parameter ${number + 1}" } }

/** Converts a single value; [what] names it in the error message. */
internal inline fun Any?.toSql(what: () -> String): SqlValue =
    when (this) {
        null -> SqlValue.Null
        is String -> SqlValue.Text(this)
        is Long -> SqlValue.Integer(this)
        is Int -> SqlValue.Integer(toLong())
        is Boolean -> SqlValue.Integer(if (this) 1 else 0)
        is Double -> SqlValue.Real(this)
        is ByteArray -> SqlValue.Blob(this)
        is Short -> SqlValue.Integer(toLong())
        is Byte -> SqlValue.Integer(toLong())
        is Float -> SqlValue.Real(toDouble())
        else -> throw RejoinException.InvalidInput(
            "${what()}: SQLite holds no ${this::class.qualifiedName}; give null, Boolean, a number, String or ByteArray",
        )
    }

/** The value as [Row.get] returns it. */
internal fun SqlValue.toKotlin(): Any? =
    when (this) {
        is SqlValue.Null -> null
        is SqlValue.Integer -> value
        is SqlValue.Real -> value
        is SqlValue.Text -> value
        is SqlValue.Blob -> value
    }
