/*
 * A device for tests/interop and for the demo: follows orders, one JSON object a line, with the hand-written package and nothing below it.
 *
 * Each order is answered by exactly one line on standard output; what fails is answered with the error's kind, and the next order
 * is carried out. It ends when standard input closes, and may be killed at any moment.
 */
package dev.rejoin.interop

import dev.rejoin.Actions
import dev.rejoin.PendingMutation
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.RejoinException
import dev.rejoin.TokenProvider
import dev.rejoin.Transaction
import dev.rejoin.Undone
import dev.rejoin.pending
import dev.rejoin.perform
import dev.rejoin.redo
import dev.rejoin.syncAndWait
import dev.rejoin.undo
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.seconds

fun main(): Unit =
    runBlocking {
        val device = Device()
        for (line in generateSequence(::readlnOrNull)) {
            val order = Json.parseToJsonElement(line).jsonObject
            println(device.answer(order))
            if (order.text("do") == "quit") break
        }
    }

private class Device {
    private var open: RejoinClient? = null
    private val held = CoroutineScope(Dispatchers.Default)

    private val client: RejoinClient get() = open ?: throw IllegalStateException("no file is open")

    /** What one order brought about. */
    suspend fun answer(order: JsonObject): JsonObject =
        try {
            buildJsonObject { carryOut(order, this) }
        } catch (why: RejoinException) {
            failed(why::class.simpleName ?: "Other", why.reason)
        } catch (why: Exception) {
            failed("Other", why.toString())
        }

    private suspend fun carryOut(order: JsonObject, answer: JsonObjectBuilder) {
        when (val what = order.text("do")) {
            "open" -> {
                opens(order)
                answer.put("ok", true)
            }
            "exec" -> answer.put("changes", client.execute(order.text("sql"), *order.params()))
            "batch" -> answer.put("changes", JsonArray(client.transaction { it.runs(order) }.map(::JsonPrimitive)))
            "fail" -> answer.put("thrown", fails(order))
            "hold" -> answer.put("held", holds(order))
            "rows" -> rows(order, answer)
            "sync" -> {
                val report = client.syncAndWait(30.seconds)
                answer.put("accepted", report.accepted)
                answer.put("parked", report.parked)
                answer.put("pulled", report.pulled)
                answer.put("still_pending", report.stillPending)
            }
            "perform" -> {
                val performed = client.perform(order.text("action"), order.getValue("arguments").jsonObject)
                answer.put("id", performed.id)
                answer.put("value", performed.value)
            }
            "undo" -> answer.put("id", client.undo(order.text("id")).by())
            "redo" -> answer.put("id", client.redo(order.text("id")).by())
            "pending" -> answer.put("pending", JsonArray(client.pending().map(::told)))
            "close", "quit" -> {
                open?.shutdown()
                open = null
                answer.put("ok", true)
            }
            else -> throw IllegalArgumentException("no order is named $what")
        }
    }

    private suspend fun opens(order: JsonObject) {
        val token = order["token"]?.jsonPrimitive?.content
        val actions = Actions { order["actions"]?.jsonArray.orEmpty().forEach { declare(it.toString()) } }
        val config =
            RejoinConfig(
                path = order.text("path"),
                serverUrl = order.text("url"),
                userId = order.text("user"),
                schemaJson = order["schema"]?.toString(),
                syncInterval = 1.hours,
                pushDebounce = Duration.ZERO,
            )
        open = RejoinClient.open(config, tokens = token?.let { text -> TokenProvider { text } }, actions = actions)
    }

    private class Own : Exception()

    /** Whether the body's own exception arrived here. */
    private suspend fun fails(order: JsonObject): Boolean =
        try {
            client.transaction<Unit> {
                it.runs(order)
                throw Own()
            }
            false
        } catch (_: Own) {
            true
        }

    /** Returns once the statements have run; the transaction stays open. */
    private suspend fun holds(order: JsonObject): Boolean {
        val ran = CompletableDeferred<Unit>()
        val client = client
        held.launch {
            try {
                client.transaction<Unit> {
                    it.runs(order)
                    ran.complete(Unit)
                    awaitCancellation()
                }
            } catch (why: RejoinException) {
                ran.completeExceptionally(why)
            }
        }
        ran.await()
        return true
    }

    private suspend fun Transaction.runs(order: JsonObject): List<Long> =
        order.getValue("statements").jsonArray.map { execute(it.jsonObject.text("sql"), *it.jsonObject.params()) }

    private suspend fun rows(order: JsonObject, answer: JsonObjectBuilder) {
        val rows = client.query(order.text("sql"), *order.params())
        answer.put("columns", JsonArray(rows.columns.map(::JsonPrimitive)))
        answer.put("rows", JsonArray(rows.map { row -> JsonArray(rows.columns.indices.map { cell(row[it]) }) }))
    }
}

private fun Undone.by(): String? = (this as? Undone.By)?.id

private fun told(mutation: PendingMutation): JsonObject =
    buildJsonObject {
        put("id", mutation.id)
        put("state", mutation.state.name.lowercase())
        put("reason", mutation.reason?.name?.lowercase())
        put(
            "rows",
            JsonArray(
                mutation.rows.map { row ->
                    buildJsonObject {
                        put("table", row.table)
                        put("key", cell(row.key))
                        put("operation", row.operation.name.lowercase())
                        put("columns", JsonArray(row.columns.map { column ->
                            buildJsonObject {
                                put("name", column.name)
                                put("old", cell(column.oldValue))
                                put("new", cell(column.newValue))
                            }
                        }))
                    }
                },
            ),
        )
    }

private fun failed(kind: String, reason: String): JsonObject =
    buildJsonObject {
        put("error", kind)
        put("reason", reason)
    }

/** A value as the lines carry it, so that no language rounds it. */
private fun cell(value: Any?): JsonElement =
    when (value) {
        null -> JsonNull
        is String -> JsonPrimitive(value)
        is Long -> buildJsonObject { put("i", value.toString()) }
        is Double -> buildJsonObject { put("r", "%016x".format(value.toRawBits())) }
        is ByteArray -> buildJsonObject { put("b", value.joinToString("") { "%02x".format(it) }) }
        else -> throw IllegalArgumentException("no cell is a ${value::class.simpleName}")
    }

private fun value(cell: JsonElement): Any? {
    if (cell is JsonNull) return null
    if (cell is JsonPrimitive) return cell.content
    val (kind, text) = cell.jsonObject.entries.single().let { it.key to it.value.jsonPrimitive.content }
    return when (kind) {
        "i" -> text.toLong()
        "r" -> Double.fromBits(text.toULong(16).toLong())
        "b" -> ByteArray(text.length / 2) { text.substring(2 * it, 2 * it + 2).toInt(16).toByte() }
        else -> throw IllegalArgumentException("no cell is of kind $kind")
    }
}

private fun JsonObject.text(name: String): String = getValue(name).jsonPrimitive.content

private fun JsonObject.params(): Array<Any?> = get("params")?.jsonArray.orEmpty().map(::value).toTypedArray()
