/*
 * The evaluation of pushed mutations by a fake server: all of a mutation or nothing, and one stored verdict per attempt.
 *
 * Follows docs/protocol.md, "Groups" and "Endings". FakeServer.kt lists what is not modelled; its lock guards everything
 * here.
 */
package dev.rejoin.test

import dev.rejoin.Row
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put

/** A rule that the test added. */
internal class FakeRule(val table: String, val reason: String, val rejects: (Row) -> Boolean)

/** The end of an evaluation without acceptance. */
private class NotAccepted(val verdict: String, val code: String, override val message: String, val column: String? = null) : Exception(message)

private fun conflict(code: String, message: String, column: String? = null): Nothing = throw NotAccepted("conflict", code, message, column)

internal class FakePush(private val rows: FakeRows) {
    private class Stored(val verdict: String, val attempt: Long, val json: JsonObject)

    private val verdicts = HashMap<Pair<String, String>, Stored>()
    val rules: MutableList<FakeRule> = mutableListOf()

    /** The verdict on a mutation; a repeated request gets the stored one. */
    fun evaluate(user: String, group: JsonObject): JsonObject {
        val id = group.text("id").orEmpty()
        val attempt = group.text("attempt")?.toLong() ?: 1
        verdicts[user to id]?.let { if (it.verdict in FINAL || attempt <= it.attempt) return it.json }
        if (group.texts("after").any { verdicts[user to it]?.verdict != "accepted" }) {
            return store(user, id, attempt, "blocked") { put("code", "blocked") }
        }
        val before = LinkedHashMap<RowName, Cells?>()
        val displaced = mutableListOf<JsonObject>()
        for (change in group.objects("changes")) {
            val name = change.rowName()
            try {
                before.putIfAbsent(name, rows.cells(name))
                displaced += apply(user, change, name, isAction = group.text("old_only") == "true")
            } catch (why: Throwable) {
                for ((row, cells) in before) rows.set(row, cells)
                // Anything else is thrown by the test's own rule; nothing is decided then.
                return store(user, id, attempt, why as? NotAccepted ?: throw why, name)
            }
        }
        rows.commit(before.filter { (name, cells) -> rows.cells(name) != cells }.keys)
        return store(user, id, attempt, "accepted") { put("displaced", JsonArray(displaced)) }
    }

    /** Withdraws a mutation, unless it was accepted before. */
    fun cancel(user: String, id: String): JsonObject =
        verdicts[user to id]?.takeIf { it.verdict in FINAL }?.json ?: store(user, id, 0, "cancelled") {}

    private fun store(user: String, id: String, attempt: Long, why: NotAccepted, name: RowName): JsonObject =
        store(user, id, attempt, why.verdict) {
            put("code", why.code)
            put("message", why.message)
            put("table_name", name.table)
            put("record_id", name.id)
            why.column?.let { put("column", it) }
        }

    private fun store(user: String, id: String, attempt: Long, verdict: String, more: JsonObjectBuilder.() -> Unit): JsonObject {
        val json =
            buildJsonObject {
                put("id", id)
                put("attempt", attempt)
                put("verdict", verdict)
                put("retryable", verdict == "blocked")
                more()
            }
        verdicts[user to id] = Stored(verdict, attempt, json)
        return json
    }

    /** Applies a change and returns the row before it, in the columns that the change names. */
    private fun apply(user: String, change: JsonObject, name: RowName, isAction: Boolean): JsonObject {
        val table = rows.tables[name.table] ?: throw NotAccepted("refused", "table.unknown", "no such table")
        if (table.isReadOnly) throw NotAccepted("refused", "table.read_only", "the table accepts no writes from devices")
        val row = rows.cells(name)?.takeIf { rows.isVisible(name, user) }
        val data = change["data"] as? JsonObject ?: JsonObject(emptyMap())
        when (change.text("operation")) {
            "create" -> create(user, table, name, row, data, isAction)
            "update" -> update(user, table, name, row, Update(change, data, isAction))
            else -> delete(user, table, name, row, change, isAction)
        }
        // The rules see the new row, or the one that is deleted.
        val seen = table.rows(listOfNotNull(rows.cells(name) ?: row))
        val broken = rules.firstOrNull { rule -> rule.table == name.table && seen.any(rule.rejects) }
        if (broken != null) throw NotAccepted("rejected", "constraint.check", broken.reason)
        return buildJsonObject {
            put("table_name", name.table)
            put("id", name.id)
            if (row == null) put("absent", true) else put("data", JsonObject(row.filterKeys { data.isEmpty() || it in data }))
        }
    }

    private fun create(user: String, table: FakeTable, name: RowName, row: Cells?, data: JsonObject, isAction: Boolean) {
        val existing = row ?: rows.cells(name)
        if (existing != null) {
            val isRetry = row != null && !isAction && data.all { (column, value) -> isSame(row[column], value) }
            if (!isRetry) conflict("row.exists", "record already exists")
            return
        }
        val owned = table.owner?.let { mapOf(it to JsonPrimitive(user)) }.orEmpty()
        rows.set(name, table.newRow(name.id) + known(table, data) + owned)
        if (!rows.isVisible(name, user)) throw NotAccepted("rejected", "constraint.references", "the parent row is absent", table.parentKey)
    }

    private class Update(change: JsonObject, val data: JsonObject, val isAction: Boolean) {
        val old = change["old"] as? JsonObject ?: JsonObject(emptyMap())
        val force = change.text("force") == "true"
    }

    private fun update(user: String, table: FakeTable, name: RowName, row: Cells?, update: Update) {
        if (row == null) missing(user, name)
        for ((column, value) in known(table, update.data)) {
            val isOld = isSame(row[column], update.old[column])
            val isDone = isSame(row[column], value)
            if (isDone && (!update.isAction || isOld)) continue
            if (column == table.parentKey) throw NotAccepted("rejected", "column.protected", "a row does not move to another parent by push", column)
            val isForced = update.force && table.mayForce && !update.isAction
            if (!isOld && !isForced) conflict("row.changed", "the column has another value than the one that was edited", column)
        }
        rows.set(name, row + update.data)
    }

    private fun delete(user: String, table: FakeTable, name: RowName, row: Cells?, change: JsonObject, isAction: Boolean) {
        if (row == null) return if (isAction) missing(user, name) else Unit
        val old = change["old"] as? JsonObject ?: JsonObject(emptyMap())
        val version = table.version?.let { row.text(it) }
        val isSeen = version != null && version == change.text("version") || change.text("force") == "true" && table.mayForce
        val differs = old.filterKeys { it !in table.protected }.entries.firstOrNull { (column, value) -> !isSame(row[column], value) }
        if (!isSeen && (old.isEmpty() || differs != null)) {
            conflict("row.changed", "the row has changed since it was deleted on the device", differs?.key)
        }
        rows.set(name, null)
    }

    private fun missing(user: String, name: RowName): Nothing {
        if (rows.wasSeen(name, user) && rows.cells(name) == null) conflict("row.deleted", "the row is deleted")
        conflict("row.not_found", "no such row")
    }

    private fun known(table: FakeTable, data: JsonObject): JsonObject {
        val unknown = data.keys.firstOrNull { it !in table.types } ?: return data
        throw NotAccepted("rejected", "column.unknown", "no such column", unknown)
    }

    private companion object {
        val FINAL = setOf("accepted", "cancelled")
    }
}

internal fun JsonObject.rowName(): RowName = RowName(text("table_name").orEmpty(), text("id").orEmpty())

/** Numbers by value, everything else by spelling. */
private fun isSame(one: JsonElement?, other: JsonElement?): Boolean {
    if (one == null || other == null) return false
    if (one == other) return true
    val numbers = listOf(one, other).map { (it as? JsonPrimitive)?.takeUnless { text -> text.isString }?.content?.toBigDecimalOrNull() }
    return numbers[0] != null && numbers[1] != null && numbers[0]?.compareTo(numbers[1]) == 0
}
