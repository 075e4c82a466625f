/*
 * The detail of a parked mutation (docs/verdicts.md), parsed.
 *
 * A detail that is no JSON, or has another form, is an empty one: the sheet then shows the mutation without it.
 */
package dev.rejoin.compose

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.longOrNull
import kotlin.io.encoding.Base64

/**
 * The detail of a parked mutation.
 *
 * @property message the server's message.
 * @property rows the rows in conflict.
 */
internal data class ParkDetail(val message: String?, val rows: List<ConflictRow>) {
    /** The conflict in a row. */
    fun row(table: String, key: Any?): ConflictRow? = rows.find { it.table == table && it.key == "$key" }

    companion object {
        val NONE: ParkDetail = ParkDetail(null, emptyList())
    }
}

/**
 * A row in conflict.
 *
 * @property key the row's key, as text.
 * @property columns the columns in conflict; empty if the row was deleted or created.
 * @property theirs the server's row at the time of the verdict; null if there is none.
 */
internal data class ConflictRow(val table: String, val key: String, val columns: List<String>, val theirs: Map<String, JsonElement>?)

/** Parses the detail of a mutation or of a verdict. */
internal fun parkDetail(json: String?): ParkDetail {
    val detail = json?.let { runCatching { Json.parseToJsonElement(it) }.getOrNull() } as? JsonObject ?: return ParkDetail.NONE
    // A partly accepted mutation has the message of each rejection.
    val refused = detail.objects("refused").mapNotNull { it.text("message") }.distinct()
    val message = refused.takeIf { it.isNotEmpty() }?.joinToString("\n") ?: detail.text("message")
    val rows =
        detail.objects("rows").mapNotNull { row ->
            val table = row.text("table") ?: return@mapNotNull null
            val columns = (row["columns"] as? JsonArray).orEmpty().mapNotNull { (it as? JsonPrimitive)?.contentOrNull }
            ConflictRow(table, row.text("id").orEmpty(), columns, row["theirs"] as? JsonObject)
        }
    return ParkDetail(message?.takeIf { it.isNotBlank() }, rows)
}

/** A cell of the detail as a value of the column's type: null, [Long], [Double], [String] or [ByteArray]. */
internal fun JsonElement?.toValue(type: FieldType): Any? {
    if (this == null || this is JsonNull) return null
    val cell = this as? JsonPrimitive ?: return toString()
    if (!cell.isString) return cell.booleanOrNull?.let { if (it) 1L else 0L } ?: cell.longOrNull ?: cell.doubleOrNull ?: cell.content
    if (type != FieldType.BLOB) return cell.content
    return runCatching { Base64.decode(cell.content) }.getOrElse { cell.content }
}

private fun JsonObject.objects(name: String): List<JsonObject> = (get(name) as? JsonArray).orEmpty().filterIsInstance<JsonObject>()

private fun JsonObject.text(name: String): String? = (get(name) as? JsonPrimitive)?.contentOrNull
