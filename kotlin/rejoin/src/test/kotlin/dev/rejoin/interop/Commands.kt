/*
 * Runs commands given as JSON through the public API (tests/scenarios/README.md lists them).
 *
 * Every command has exactly one answer; a failure is answered with its error type. Used by the device of tests/interop
 * and by the scenario runner.
 */
package dev.rejoin.interop

import dev.rejoin.*
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import kotlinx.serialization.json.longOrNull
import kotlinx.serialization.json.put
import java.lang.reflect.Modifier
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.Instant

/** Extensions for the steps of a body: variables and expectations. */
interface Hooks {
    fun resolve(step: JsonObject, given: JsonObject): JsonObject = step

    fun check(step: JsonObject, answer: JsonObject) = Unit
}

/** The error that a command throws itself. */
private class Own(detail: String) : Exception(detail)

/** The token that a provider returns, and how often it was refreshed. */
private class Tokens(@Volatile var token: String?, @Volatile var fresh: String? = null) : TokenProvider {
    val refreshes = AtomicInteger()

    override suspend fun token(refresh: Boolean): String? {
        if (refresh) refreshes.incrementAndGet()
        if (refresh && fresh != null) token = fresh
        return token
    }
}

/** The open clients by name. */
class Device(private val hooks: Hooks = object : Hooks {}) {
    private val clients = mutableMapOf<String, RejoinClient>()
    private val tokens = mutableMapOf<String, Tokens>()
    private val subscriptions = mutableMapOf<String, StreamSubscription>()
    private val held = CoroutineScope(Dispatchers.Default)

    /** Runs one command. */
    suspend fun answer(step: JsonObject): JsonObject =
        try {
            run(step, null) as? JsonObject ?: OK
        } catch (why: Exception) {
            failure(why)
        }

    /** Shuts every client down. */
    suspend fun end() {
        for (client in clients.values) runCatching { client.shutdown() }
    }

    private fun client(step: JsonObject): RejoinClient = clients[step.name] ?: throw IllegalStateException("no file is open")

    private suspend fun run(step: JsonObject, target: Any?): Any? =
        when (step.text("do")) {
            "exec", "batch", "rows" -> statement(step, target.takeIf { "on" !in step } ?: client(step))
            "open" -> open(step)
            "close", "quit" -> clients[step.name]?.shutdown()
            "transaction" -> client(step).transaction<Unit> { steps(step, it) }
            "hold" -> hold(step)
            "read" -> client(step).read<Unit> { steps(step, it) }
            "savepoint" -> (target as Transaction).savepoint<Unit> { steps(step, it) }
            "edit" -> member("id", if ("steps" in step) client(step).queue.edit(step.text("id")) { steps(step, it) } else client(step).queue.edit(step.text("id"), step.statements()))
            "row_id" -> member("id", (target as ActionContext).rowId(step.text("table"), *step.getValue("row").jsonObject.toList().toTypedArray()))
            "refuse" -> (target as ActionContext).refuse(step.text("detail"))
            "throw" -> throw Own(step.text("detail"))
            "tokens" -> tokens.getValue(step.name).run { token = step.textOrNull("token"); fresh = step.textOrNull("fresh") }
            "asked" -> member("refreshes", tokens.getValue(step.name).refreshes.get())
            "subscribe" -> subscribe(step)
            "stream_sync" -> subscriptions.getValue(step.text("id")).firstSync(LONGEST)
            "unsubscribe" -> subscriptions.getValue(step.text("id")).unsubscribe()
            "release" -> subscriptions.getValue(step.text("id")).close()
            else -> client(step).call(step)
        }

    private suspend fun open(step: JsonObject) {
        val own = step.textOrNull("token")?.let { Tokens(it, step.textOrNull("fresh")) }
        val actions = step["actions"]?.let { entries -> Actions { entries.jsonArray.forEach { add(it.jsonObject) } } }
        clients[step.name] = RejoinClient.open(step.configuration(), own, actions = actions)
        own?.let { tokens[step.name] = it }
    }

    private suspend fun subscribe(step: JsonObject) {
        val parameters = step.getValue("parameters").jsonObject.mapValues { value(it.value)!! }
        val ttl = step.number("ttl")?.milliseconds
        subscriptions[step.text("id")] = client(step).sync.subscribe(step.text("stream"), parameters, ttl, step.number("priority")?.toInt())
    }

    private fun Actions.add(entry: JsonObject) {
        if ("identity" in entry) return identity(entry.text("identity"), *entry.texts("columns"))
        if ("only_by_actions" in entry) return onlyByActions(entry.text("only_by_actions"))
        val runs = entry["runs"]?.jsonArray ?: return declare(entry.toString())
        val parameters = entry.getValue("parameters").jsonArray.map { ActionParameter(it.jsonObject.text("name"), ActionParameterType.valueOf(it.jsonObject.text("type").uppercase())) }
        val upgrades =
            entry["upgrades"]?.jsonArray.orEmpty().map { it.jsonObject }.map { upgrade ->
                ActionUpgrade(upgrade.number("version")!!, upgrade["rename"]!!.jsonObject.mapValues { it.value.jsonPrimitive.content }, upgrade["set"]!!.jsonObject)
            }
        val run = AtomicInteger()
        handler(entry.text("name"), *parameters.toTypedArray(), version = entry.number("version") ?: 1, upgrades = upgrades) { context, given ->
            steps(runs[run.getAndIncrement().coerceAtMost(runs.size - 1)].jsonArray, context, given.json)
        }
    }

    private suspend fun steps(step: JsonObject, target: Any) {
        steps(step.getValue("steps").jsonArray, target, JsonObject(emptyMap()))
    }

    /** Runs the steps of a body and returns the value of a `return` step. Rethrows a failure that no step expects. */
    private suspend fun steps(steps: JsonArray, target: Any, given: JsonObject): JsonElement {
        var value: JsonElement = JsonNull
        for (raw in steps.map { it.jsonObject }) {
            val step = hooks.resolve(raw, given)
            if (step.text("do") == "return") {
                value = step.getValue("value")
                continue
            }
            val answer =
                try {
                    run(step, target) as? JsonObject ?: OK
                } catch (why: Exception) {
                    if ("expect" !in raw) throw why
                    failure(why)
                }
            hooks.check(raw, answer)
        }
        return value
    }

    /** Answers after the steps; the body of the transaction stays open. */
    private suspend fun hold(step: JsonObject): JsonObject {
        val ran = CompletableDeferred<Unit>()
        held.launch {
            try {
                client(step).transaction<Unit> {
                    steps(step, it)
                    ran.complete(Unit)
                    awaitCancellation()
                }
            } catch (why: Exception) {
                ran.completeExceptionally(why)
            }
        }
        ran.await()
        return member("held", true)
    }
}

/** Statement commands, for a client or for the argument of a body. */
private suspend fun statement(step: JsonObject, target: Any): JsonObject {
    val params = step.params()
    return when (val what = step.text("do")) {
        "exec" -> member("changes", when (target) {
            is Transaction -> target.execute(step.text("sql"), *params)
            is ActionContext -> target.execute(step.text("sql"), *params)
            else -> (target as RejoinClient).execute(step.text("sql"), *params)
        })
        "batch" -> member("changes", if (target is Transaction) target.batch(step.statements()) else (target as RejoinClient).batch(step.statements()))
        "rows" -> rows(when (target) {
            is Transaction -> target.query(step.text("sql"), *params)
            is Snapshot -> target.query(step.text("sql"), *params)
            is ActionContext -> target.query(step.text("sql"), *params)
            else -> (target as RejoinClient).query(step.text("sql"), *params)
        })
        else -> error(what)
    }
}

/** Commands that map to one call of the client. */
private suspend fun RejoinClient.call(step: JsonObject): Any? {
    val id = step.textOrNull("id").orEmpty()
    val timeout = step.number("timeout")?.milliseconds ?: LONGEST
    val limit = step.number("limit")?.toInt() ?: 100
    return when (val what = step.text("do")) {
        "script" -> executeScript(step.text("sql"))
        "returning" -> rows(executeReturning(step.text("sql"), *step.params()))
        "rows_of" -> buildJsonObject { put("results", JsonArray(queryMany(*step.statements().toTypedArray()).map(::rows))) }
        "create_table" -> schema.createTable(step.text("name"), step.text("definition"))
        "alter_table" -> schema.alterTable(step.text("name"), step.text("definition"))
        "create_index" -> member("name", schema.createIndex(step.text("table"), *step.texts("columns")))
        "create_search_index" -> member("name", schema.createSearchIndex(step.text("table"), *step.texts("columns"), tokenizer = step.textOrNull("tokenizer")))
        "drop_search_index" -> schema.dropSearchIndex(step.text("table"))
        "start" -> start()
        "stop" -> stop()
        "sync" -> plain(sync.run(timeout))
        "doctor" -> plain(sync.doctor(timeout))
        "resync" -> plain(sync.resync(timeout))
        "settle" -> plain(sync.run(timeout).also { stop() })
        "wrote" -> execute(step.text("sql"), *step.params()).let { member("id", queue.all().last().id) }
        "sync_now" -> sync.request()
        "first_sync" -> sync.firstSync(timeout)
        "subscriptions" -> member("subscriptions", sync.subscriptions)
        "credentials_changed" -> sync.credentialsChanged()
        "network" -> sync.setNetwork(step.getValue("online").jsonPrimitive.boolean, step["metered"]?.jsonPrimitive?.boolean ?: false)
        "foreground" -> sync.foreground()
        "status" -> plain(status.value)
        "reach" -> withTimeout(LONGEST) { plain(status.first { snake(it.state.javaClass.simpleName) == step.text("state") }) }
        "pending" -> member("pending", queue.all())
        "counts" -> plain(queue.counts())
        "row_state" -> member("state", queue.rowState(step.text("table"), value(step.getValue("key"))!!))
        "verdict" -> plain(queue.verdict(id, timeout))
        "verdicts" -> plain(queue.verdicts(limit))
        "acknowledge" -> queue.acknowledgeVerdicts(step.text("through").toLong())
        "retry" -> queue.retry(id)
        "retry_chain" -> member("ids", queue.retryChain(id))
        "discard" -> queue.discard(id)
        "discard_chain" -> member("ids", queue.discardChain(id))
        "perform" -> plain(perform(step.text("action"), step["arguments"]?.jsonObject ?: JsonObject(emptyMap())))
        "perform_again" -> plain(queue.performAgain(id, step["arguments"]?.jsonObject ?: JsonObject(emptyMap())))
        "history" -> member("history", queue.history(limit))
        "undo" -> plain(queue.undo(id))
        "redo" -> plain(queue.redo(id))
        "prune" -> member("count", queue.prune(HistoryBounds(step.number("count")?.toInt(), step.number("bytes")?.toInt(), step.number("age")?.seconds)))
        "reset" -> plain(storage.reset(Keep.valueOf(step.text("keep").uppercase()), step.texts("give_up").toList()))
        "import" -> plain(storage.importSynchro(step.text("path")))
        "suspend" -> sync.suspend()
        "resume" -> sync.resume()
        "checkpoint" -> plain(storage.checkpoint(CheckpointMode.valueOf(step.text("mode").uppercase())))
        "diagnose" -> member("bundle", storage.diagnose())
        else -> throw IllegalArgumentException("no command is named $what")
    }
}

private fun JsonObject.configuration(): RejoinConfig {
    val more = get("config")?.jsonObject ?: JsonObject(emptyMap())
    val budget = more["action_budget"]?.jsonObject
    val url = textOrNull("url")
    return RejoinConfig(
        path = text("path"),
        server = url,
        userId = textOrNull("user"),
        schema = get("schema")?.toString(),
        policies = more["policies"]?.jsonObject?.mapValues { ConflictPolicy.valueOf(it.value.jsonPrimitive.content.uppercase()) },
        syncInterval = url?.let { 1.hours },
        pushDebounce = url?.let { Duration.ZERO },
        actionBudget = budget?.let { ActionBudget(it.number("run")?.milliseconds, it.number("rebase")?.milliseconds, it.number("bytes")?.toInt()) },
        pageSize = more.number("page_size")?.toInt(),
        readers = more.number("readers")?.toInt(),
        walLimit = more.number("wal_limit")?.toInt(),
    )
}

private val OK = JsonObject(mapOf("ok" to JsonPrimitive(true)))

/** Longer than any call may take. */
private val LONGEST = 30.seconds

private fun failure(why: Exception): JsonObject =
    JsonObject(
        when (why) {
            is RejoinException.ActionTooSlow -> mapOf("action" to plain(why.action), "limit" to JsonPrimitive(why.limit.inWholeMilliseconds))
            is RejoinException -> members(why)
            else -> emptyMap()
        } + ("error" to JsonPrimitive(if (why is RejoinException || why is Own) why.javaClass.simpleName else "Other")) +
            ("reason" to JsonPrimitive((why as? RejoinException)?.reason ?: why.toString())),
    )

private fun rows(rows: RowBuffer): JsonObject =
    buildJsonObject {
        put("columns", plain(rows.columns))
        put("rows", JsonArray(rows.map { row -> JsonArray(rows.columns.indices.map { cell(row[it]) }) }))
    }

private fun member(name: String, value: Any?): JsonObject = JsonObject(mapOf(name to plain(value)))

/** Any report of the package as JSON, with names in the form of the scenarios. */
private fun plain(value: Any?, name: String = ""): JsonElement =
    when {
        value is JsonElement -> value
        value is List<*> -> JsonArray(value.map { plain(it, name) })
        value is Map<*, *> -> JsonObject(value.entries.associate { it.key as String to cell(it.value) })
        name in CELLS -> cell(value)
        value == null -> JsonNull
        value is String -> JsonPrimitive(value)
        value is Number -> JsonPrimitive(value)
        value is Boolean -> JsonPrimitive(value)
        value is Instant -> JsonPrimitive(value.toEpochMilliseconds())
        value is Enum<*> -> JsonPrimitive(value.name.lowercase())
        value is SyncState || value is StreamStatus || value is Verdict || value is Undone -> JsonObject(members(value) + ("kind" to JsonPrimitive(snake(value.javaClass.simpleName))))
        else -> JsonObject(members(value))
    }

private fun members(value: Any): Map<String, JsonElement> =
    value.javaClass.declaredFields.filterNot { Modifier.isStatic(it.modifiers) }.associate { field ->
        field.isAccessible = true
        val name = snake(field.name).removeSuffix("_value")
        name to plain(field.get(value), name)
    }

private val CELLS = setOf("key", "old", "new")

private fun snake(name: String): String = name.replace(Regex("(?<=[a-z])[A-Z]")) { "_${it.value}" }.lowercase()

/** A value as encoded in the scenarios, exact in every language. */
private fun cell(value: Any?): JsonElement =
    when (value) {
        null -> JsonNull
        is String -> JsonPrimitive(value)
        is Long -> buildJsonObject { put("i", value.toString()) }
        is Double -> buildJsonObject { put("r", "%016x".format(value.toRawBits())) }
        is ByteArray -> buildJsonObject { put("b", value.joinToString("") { "%02x".format(it) }) }
        else -> throw IllegalArgumentException("unsupported cell type ${value::class.simpleName}")
    }

private fun value(cell: JsonElement): Any? {
    if (cell is JsonPrimitive) return if (cell.isString) cell.content else cell.booleanOrNull ?: cell.longOrNull
    val (kind, text) = cell.jsonObject.entries.single().let { it.key to it.value.jsonPrimitive.content }
    return when (kind) {
        "i" -> text.toLong()
        "r" -> Double.fromBits(text.toULong(16).toLong())
        "b" -> ByteArray(text.length / 2) { text.substring(2 * it, 2 * it + 2).toInt(16).toByte() }
        else -> throw IllegalArgumentException("unknown cell kind $kind")
    }
}

private val JsonObject.name: String get() = textOrNull("on") ?: "main"

fun JsonObject.text(name: String): String = getValue(name).jsonPrimitive.content

private fun JsonObject.textOrNull(name: String): String? = get(name)?.jsonPrimitive?.contentOrNull

private fun JsonObject.number(name: String): Long? = get(name)?.jsonPrimitive?.long

private fun JsonObject.texts(name: String): Array<String> = get(name)?.jsonArray.orEmpty().map { it.jsonPrimitive.content }.toTypedArray()

private fun JsonObject.params(): Array<Any?> = get("params")?.jsonArray.orEmpty().map(::value).toTypedArray()

private fun JsonObject.statements(): List<Statement> = getValue("statements").jsonArray.map { Statement(it.jsonObject.text("sql"), *it.jsonObject.params()) }
