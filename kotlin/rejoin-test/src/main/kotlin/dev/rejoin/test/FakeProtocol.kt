/*
 * The messages of a fake server: register, schema, push, pull and snapshot of docs/protocol.md, each in one page.
 *
 * FakeRows.kt has the rows and FakePush.kt the verdicts. The lock of FakeServer.kt guards everything here.
 */
package dev.rejoin.test

import dev.rejoin.HttpHeader
import dev.rejoin.HttpResponse
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonObject
import java.util.UUID
import kotlin.time.Clock

internal class FakeProtocol(private val schema: JsonObject, private val rows: FakeRows, private val push: FakePush) {
    private val epoch = UUID.randomUUID().toString()

    /** The response to a request of [user]; without a user its credentials are rejected. */
    fun answer(endpoint: String, body: JsonObject, user: String?): HttpResponse {
        if (user == null) return error(401, "unauthorized", "the token is missing or rejected")
        if (endpoint == "schema") return response(200, schema)
        val isWithoutSchema = endpoint == "register" && body.text("schema_version") == "0"
        if (!isWithoutSchema && STAMP.any { body.text(it) != schema.text(it) }) return error(409, "schema_mismatch", "the device has another schema")
        val ask = body["rejoin"] as? JsonObject ?: JsonObject(emptyMap())
        return when (endpoint) {
            "register" -> register(body, ask, user)
            "push" -> push(ask, user)
            "pull" -> pull(ask, user)
            "snapshot" -> snapshot(ask, user)
            else -> error(404, "invalid_request", "the fake server has no endpoint $endpoint")
        }
    }

    private fun register(body: JsonObject, ask: JsonObject, user: String): HttpResponse =
        ok(ask, "id" to JsonPrimitive(body.text("client_id"))) {
            put("protocol", 1)
            put("capabilities", texts(listOf("groups", "rows", "errors", "epoch", "cursor", "arrays", "cancel")))
            put("subject", user)
            put("cursor_valid", positionOf(ask) != null)
            (schema["rejoin"] as? JsonObject)?.text("rules_hash")?.let { put("rules_hash", it) }
        }

    private fun push(ask: JsonObject, user: String): HttpResponse =
        ok(ask) {
            if (ask.text("epoch") != epoch) return@ok
            val (cancels, groups) = ask.objects("cancel") to ask.objects("groups")
            val verdicts = cancels.map { push.cancel(user, it.text("id").orEmpty()) } + groups.map { push.evaluate(user, it) }
            val touched = (cancels.flatMap { it.objects("rows") } + groups.flatMap { it.objects("changes") }).map { it.rowName() }.distinct()
            put("verdicts", JsonArray(verdicts))
            put("rows", JsonArray(touched.map { rows.image(it, user) }))
            put("held", texts(listOf(user)))
        }

    private fun pull(ask: JsonObject, user: String): HttpResponse {
        val position = positionOf(ask)
            ?: return ok(ask, "snapshot_required" to JsonPrimitive(true), "snapshot_reason" to JsonPrimitive("epoch_changed")) {}
        val changed = rows.changedAfter(position, user) + ask.objects("recheck").map { it.rowName() }
        val (live, gone) = changed.partition { rows.isVisible(it, user) }
        return ok(ask, "deletes" to JsonArray(gone.map(::nameOf))) {
            put("cursor", cursor())
            put("held", texts(listOf(user)))
            put("sets", sets(live.groupBy { rows.table(it.table) }, user))
        }
    }

    private fun snapshot(ask: JsonObject, user: String): HttpResponse =
        ok(ask) {
            put("pull_cursor", cursor())
            put("ranges", JsonArray(rows.tables.keys.map { table -> JsonObject(mapOf("table_name" to JsonPrimitive(table))) }))
            put("sets", sets(rows.tables.values.associateWith { table -> rows.live(table, user).map { it.first } }, user))
        }

    private fun sets(names: Map<FakeTable, List<RowName>>, user: String): JsonArray =
        JsonArray(
            names.filterValues { it.isNotEmpty() }.map { (table, of) ->
                val columns = table.types.keys
                val cells = of.mapNotNull { rows.deliver(it, user) }
                buildJsonObject {
                    put("table_name", table.name)
                    put("columns", texts(columns))
                    put("rows", JsonArray(cells.map { row -> JsonArray(columns.map(row::getValue)) }))
                }
            },
        )

    private fun nameOf(row: RowName) = JsonObject(mapOf("table_name" to JsonPrimitive(row.table), "id" to JsonPrimitive(row.id)))

    private fun texts(texts: Collection<String>) = JsonArray(texts.map(::JsonPrimitive))

    private fun cursor() = "$epoch.${rows.head}"

    /** The position of the device's cursor, if it is of this server. */
    private fun positionOf(ask: JsonObject): Long? = ask.text("cursor")?.takeIf { it.startsWith("$epoch.") }?.substringAfter('.')?.toLong()

    private fun ok(ask: JsonObject, vararg plain: Pair<String, JsonElement>, rejoin: JsonObjectBuilder.() -> Unit): HttpResponse =
        response(
            200,
            buildJsonObject {
                for (name in listOf("accepted", "rejected", "changes", "deletes", "records")) put(name, JsonArray(emptyList()))
                put("checkpoint", 0)
                put("has_more", false)
                put("server_time", instantText(Clock.System.now().toEpochMilliseconds() * 1_000))
                for (name in STAMP) put(name, schema.getValue(name))
                for ((name, value) in plain) put(name, value)
                putJsonObject("rejoin") {
                    put("request", ask["request"] ?: JsonPrimitive(0))
                    put("epoch", epoch)
                    rejoin()
                }
            },
        )

    private fun error(status: Int, code: String, message: String): HttpResponse =
        response(
            status,
            buildJsonObject {
                for (name in listOf("error", "message")) put(name, message)
                put("code", code)
                put("retryable", false)
                for (name in STAMP) put("server_$name", schema.getValue(name))
            },
        )

    private fun response(status: Int, body: JsonElement) =
        HttpResponse(status, listOf(HttpHeader("content-type", "application/json")), body.toString().encodeToByteArray())

    private companion object {
        /** The members that identify a schema. */
        val STAMP = listOf("schema_version", "schema_hash")
    }
}
