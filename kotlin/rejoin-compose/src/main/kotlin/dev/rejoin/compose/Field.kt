/*
 * The value of a column as a field: its type, its text, and back.
 *
 * An edited value has the type of its column, or is null. Bytes are shown by their length and are not editable.
 */
package dev.rejoin.compose

/** The type of a column, which an edited value keeps. */
internal enum class FieldType {
    INTEGER,
    REAL,
    TEXT,
    BOOLEAN,
    BLOB,
}

/** The type for the declared type of a column; [value] decides if SQLite has none. */
internal fun fieldType(declared: String?, value: Any?): FieldType {
    val name = declared.orEmpty().uppercase()
    return when {
        value is ByteArray || "BLOB" in name -> FieldType.BLOB
        "BOOL" in name && (value == null || value == 0L || value == 1L) -> FieldType.BOOLEAN
        value is String -> FieldType.TEXT
        value is Double -> FieldType.REAL
        "INT" in name || "BOOL" in name -> FieldType.INTEGER
        "REAL" in name || "FLOA" in name || "DOUB" in name -> FieldType.REAL
        value is Long -> FieldType.INTEGER
        else -> FieldType.TEXT
    }
}

/** The result of [parseField]. */
internal sealed interface Parsed {
    /** A value of the column's type, or null. */
    data class Value(val value: Any?) : Parsed

    /** The text is no value of this type. */
    data class Invalid(val type: FieldType) : Parsed
}

/** Converts the text of a field to a value of the type; null is no value. */
internal fun parseField(text: String?, type: FieldType): Parsed {
    if (text == null) return Parsed.Value(null)
    val value: Any? =
        when (type) {
            FieldType.TEXT -> text
            FieldType.INTEGER -> text.trim().toLongOrNull()
            FieldType.BOOLEAN -> text.trim().toLongOrNull()?.takeIf { it == 0L || it == 1L }
            // A keypad may have the decimal comma only. SQLite stores neither NaN nor infinities for a server.
            FieldType.REAL -> text.trim().replace(',', '.').takeIf(DECIMAL::matches)?.toDouble()?.takeIf(Double::isFinite)
            FieldType.BLOB -> null
        }
    return value?.let(Parsed::Value) ?: Parsed.Invalid(type)
}

/** The text of a field for a value; null is no value. */
internal fun fieldText(value: Any?): String? = value?.takeUnless { it is ByteArray }?.toString()

/** A value as the user reads it. */
internal fun shownText(value: Any?, type: FieldType, texts: ParkedTexts): String =
    when {
        value == null -> texts.noValue
        value is ByteArray -> texts.bytes(value.size)
        type == FieldType.BOOLEAN -> if (value == 1L) texts.yes else texts.no
        value is String && value.isEmpty() -> texts.noValue
        else -> value.toString()
    }

/** Whether two values are equal; an integer equals a real of the same number. */
internal fun sameValue(one: Any?, other: Any?): Boolean =
    when {
        one is ByteArray && other is ByteArray -> one.contentEquals(other)
        one is Double && other is Long -> one == other.toDouble()
        one is Long && other is Double -> one.toDouble() == other
        else -> one == other
    }

private val DECIMAL = Regex("[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?")
