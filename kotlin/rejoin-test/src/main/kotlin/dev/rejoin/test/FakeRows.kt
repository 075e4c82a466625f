/*
 * The tables and rows of a fake server, and their conversion between the wire and Kotlin.
 *
 * Rows are in memory, in the form of the wire. Each write gets the next position of the log. FakeServer.kt lists what is
 * not modelled; its lock guards everything here.
 */
package dev.rejoin.test

import dev.rejoin.RowBuffer
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.double
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import kotlinx.serialization.json.put
import java.util.Base64
import kotlin.time.Clock
import kotlin.time.Instant

/** The columns of a row, by name. */
internal typealias Cells = Map<String, JsonElement>

/** The name of a row; the key is text, as on the wire. */
internal data class RowName(val table: String, val id: String)

/** A table of the manifest. */
internal class FakeTable(manifest: JsonObject) {
    private val more = manifest["rejoin"] as? JsonObject ?: JsonObject(emptyMap())
    private val columnList = manifest.objects("columns")
    val name: String = manifest.text("table_name") ?: throw IllegalArgumentException("a table of the schema has no table_name")
    val key: String = (manifest["primary_key"] as? JsonArray)?.firstOrNull()?.jsonPrimitive?.content ?: "id"
    val types: Map<String, String> = columnList.associate { it.text("name").orEmpty() to it.text("logical_type").orEmpty() }
    val version: String? = manifest.text("updated_at_column")
    val owner: String? = more.text("owner_column")
    val parent: String? = manifest.text("parent_table")
    val parentKey: String? = manifest.text("parent_fk_col")
    val isLocal: Boolean = more.text("local_only") == "true"
    val isReadOnly: Boolean = manifest.text("push_policy") == "disabled"

    /** Whether a device may overwrite a row after repeated conflicts. */
    val mayForce: Boolean = more.text("policy") in setOf("rebase", "keep_local")

    /** The columns that only the server writes. */
    val protected: Set<String> =
        setOfNotNull("created_at", version, manifest.text("deleted_at_column"), owner) + more.texts("protected")

    /** Per column the default if it is a literal, else NULL. */
    private val defaults: Cells = columnList.associate { it.text("name").orEmpty() to default(it) }

    private fun default(column: JsonObject): JsonElement {
        val sql = column.text("sqlite_default_sql") ?: return JsonNull
        val literal = if (sql.startsWith("'")) sql.removeSurrounding("'").replace("''", "'") else sql.toLongOrNull() ?: sql.toDoubleOrNull()
        return toWire(column.text("name").orEmpty(), literal)
    }

    /** A row without values; the key is text. */
    fun newRow(id: String): Cells = defaults + (key to toWire(key, if (types[key] == "string") id else id.toLongOrNull() ?: id))

    fun toWire(column: String, value: Any?): JsonElement {
        val type = types[column] ?: throw IllegalArgumentException("table $name has no column $column; it has ${types.keys.joinToString()}")
        return when (value) {
            null -> JsonNull
            is Boolean -> if (type == "boolean") JsonPrimitive(value) else JsonPrimitive(if (value) 1 else 0)
            is Number -> if (type == "boolean") JsonPrimitive(value.toLong() != 0L) else JsonPrimitive(value)
            is ByteArray -> JsonPrimitive(Base64.getEncoder().encodeToString(value))
            is String -> JsonPrimitive(value)
            else -> throw IllegalArgumentException("column $column: give null, Boolean, a number, String or ByteArray, not ${value::class}")
        }
    }

    fun toKotlin(column: String, cell: JsonElement): Any? {
        val value = (cell as? JsonPrimitive)?.takeUnless { it is JsonNull } ?: return null
        return when {
            types[column] == "bytes" -> Base64.getDecoder().decode(value.content)
            value.isString -> value.content
            value.booleanOrNull != null -> value.booleanOrNull
            types[column] == "float" -> value.double
            else -> value.long
        }
    }

    fun rows(rows: List<Cells>): RowBuffer {
        val values = rows.map { row -> types.keys.map { toKotlin(it, row.getValue(it)) } }
        return RowBuffer.of(types.keys.toList(), *values.toTypedArray())
    }
}

/** A row, or the tombstone of one. */
internal class FakeRow {
    var cells: Cells? = null
    var position: Long = 0

    /** The users who have received it: only they get its deletion. */
    val seenBy: MutableSet<String> = mutableSetOf()
}

internal class FakeRows(schema: JsonObject) {
    val tables: Map<String, FakeTable> = schema.objects("tables").map(::FakeTable).filterNot { it.isLocal }.associateBy { it.name }
    private val rows = LinkedHashMap<RowName, FakeRow>()
    private var time = 0L

    /** The position of the last write. */
    var head: Long = 0
        private set

    fun table(name: String): FakeTable =
        tables[name] ?: throw IllegalArgumentException("the schema has no synced table $name; it has ${tables.keys.joinToString()}")

    fun cells(name: RowName): Cells? = rows[name]?.cells

    fun wasSeen(name: RowName, user: String): Boolean = rows[name]?.seenBy?.contains(user) == true

    /** Sets the cells only, for a write that may still be rolled back. */
    fun set(name: RowName, cells: Cells?) {
        rows.getOrPut(name, ::FakeRow).cells = cells
    }

    /** Ends a write: a new version and a new position for these rows. */
    fun commit(names: Collection<RowName>) {
        if (names.isEmpty()) return
        head += 1
        time = maxOf(time + 1, Clock.System.now().toEpochMilliseconds() * 1_000)
        for (name in names) {
            val row = rows.getValue(name)
            row.position = head
            val version = tables[name.table]?.version ?: continue
            row.cells = row.cells?.plus(version to JsonPrimitive(instantText(time)))
        }
    }

    /** A row belongs to its owner, or to its parent's; without either to all users. */
    fun isVisible(name: RowName, user: String): Boolean {
        val cells = cells(name) ?: return false
        val table = tables[name.table] ?: return false
        val parent = table.parent ?: return table.owner == null || cells.text(table.owner) == user
        return isVisible(RowName(parent, cells.text(table.parentKey ?: return false) ?: return false), user)
    }

    /** The live rows of a table, in key order; all users' without a [user]. */
    fun live(table: FakeTable, user: String? = null): List<Pair<RowName, Cells>> =
        rows.entries
            .filter { (name, _) -> name.table == table.name && (user == null || isVisible(name, user)) }
            .mapNotNull { (name, row) -> row.cells?.let { name to it } }
            .sortedWith(compareBy({ if (table.types[table.key] == "string") 0L else it.first.id.toLongOrNull() ?: 0L }, { it.first.id }))

    /** The rows that a user has received or may receive, of which some write came after [position]. */
    fun changedAfter(position: Long, user: String): Set<RowName> =
        rows.filter { (name, row) -> row.position > position && (user in row.seenBy || isVisible(name, user)) }.keys

    /** Notes that the user receives this row. */
    fun deliver(name: RowName, user: String): Cells? =
        cells(name)?.takeIf { isVisible(name, user) }?.also { rows.getValue(name).seenBy += user }

    /** The row as the user sees it. */
    fun image(name: RowName, user: String): JsonObject =
        buildJsonObject {
            put("table_name", name.table)
            put("id", name.id)
            val cells = deliver(name, user)
            if (cells == null) put("absent", true) else put("data", JsonObject(cells))
            tables[name.table]?.version?.let { cells?.text(it) }?.let { put("updated_at", it) }
        }
}

internal fun Map<String, JsonElement>.text(name: String): String? = (get(name) as? JsonPrimitive)?.contentOrNull?.ifEmpty { null }

internal fun Map<String, JsonElement>.objects(name: String): List<JsonObject> = (get(name) as? JsonArray).orEmpty().map { it as JsonObject }

internal fun Map<String, JsonElement>.texts(name: String): List<String> = (get(name) as? JsonArray).orEmpty().map { it.jsonPrimitive.content }

/** `2026-01-02T03:04:05.000000Z`, always with six digits. */
internal fun instantText(micros: Long): String {
    val text = Instant.fromEpochSeconds(micros / 1_000_000, micros % 1_000_000 * 1_000).toString().removeSuffix("Z")
    return "${text.substringBefore('.')}.${text.substringAfter('.', "").padEnd(6, '0')}Z"
}
