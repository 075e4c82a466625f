/*
 * A sync server in the process of the test, for real clients: no socket, no thread, no file.
 *
 * Speaks Rejoin's own protocol (docs/protocol.md): with it a mutation is one unit with one verdict, as on a real server.
 * FakeProtocol.kt has the messages. The contract tests run the same scenarios on a real server.
 */
package dev.rejoin.test

import dev.rejoin.Actions
import dev.rejoin.HttpRequest
import dev.rejoin.HttpResponse
import dev.rejoin.HttpTransport
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.RejoinException
import dev.rejoin.Row
import dev.rejoin.RowBuffer
import dev.rejoin.TokenProvider
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonObject
import java.io.IOException
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/**
 * A sync server for the tests of an app. It is the [HttpTransport] of the clients that sync with it.
 *
 * ```kotlin
 * val server = FakeServer(schema)
 * val phone = server.client()
 * phone.execute("INSERT INTO task(id, title) VALUES ('t1', 'buy milk')")
 * phone.awaitUpToDate()
 * assertEquals("buy milk", server.rows("task").single().string("title"))
 *
 * server.reject("task", "too long") { it.string("title").length > 20 }
 * server.changeRow("task", "t1", "title" to "buy bread") // As another device.
 * server.offline = true
 * phone.shutdown()
 * ```
 *
 * The clients register, pull, push and get verdicts as from a real server. A mutation is applied completely or not at
 * all, a repeated one gets the same verdict, an edited column with another value is a conflict, and an action is
 * compared by its old values. A user sees the rows that it owns, the rows of parents that it owns, and the rows of
 * tables without an owner; a token is the name of its user.
 *
 * Not modelled:
 *  - the rules of the schema (NOT NULL, CHECK, UNIQUE, references except to a parent), generated columns, defaults that
 *    are not literals, and columns that the server writes, except owner and version;
 *  - triggers, checks of actions, hooks, resolvers, and the validation of what an action has read; use [reject] for a
 *    verdict;
 *  - `last_write_wins` and `whole_rows`: such tables are compared column by column, as every other table;
 *  - the meaning of values: JSON, instants and decimals are equal if their texts are;
 *  - buckets that operators define, and children of a row that changes its owner or is deleted;
 *  - pages, compression, event streams, digests, compaction, expired verdicts, copied files, restored servers, and a
 *    change of the schema.
 *
 * Use the embedded `rejoin-server` for a test that depends on one of these.
 *
 * @param schema the server's `GET /sync/schema`, unchanged: the file that the app bundles.
 * @param userOf the user of a token; for tokens that an app's own provider makes.
 */
public class FakeServer(public val schema: String, private val userOf: (token: String) -> String = { it }) : HttpTransport {
    private val manifest = Json.parseToJsonElement(schema).jsonObject
    private val rows = FakeRows(manifest)
    private val push = FakePush(rows)
    private val protocol = FakeProtocol(manifest, rows, push)
    private val counts = HashMap<String, Int>()

    /** Whether no request reaches the server. */
    @Volatile
    public var offline: Boolean = false

    /** Whether pushes are executed and their responses are lost: the sent mutations are then uncertain. */
    @Volatile
    public var losesPushResponses: Boolean = false

    /** Whether every token is rejected. Call `sync.credentialsChanged()` after it has become false. */
    @Volatile
    public var unauthorized: Boolean = false

    /**
     * Opens a client of [user] on a temporary file: with the schema bundled, and not started. Shut it down.
     *
     * @param change further settings.
     */
    public suspend fun client(
        user: String = USER,
        actions: Actions? = null,
        change: RejoinConfig.() -> RejoinConfig = { this },
    ): RejoinClient = RejoinClient.open(config().change(), TokenProvider { user }, this, actions)

    /** The configuration of a client of this server, for an app's own call of [RejoinClient.open]. Pulls each second. */
    public fun config(): RejoinConfig =
        RejoinConfig.temporary().copy(server = "http://127.0.0.1", schema = schema, syncInterval = 1.seconds, pushDebounce = Duration.ZERO)

    /**
     * Rejects mutations that write or delete a row of [table] for which [rejects] is true, from now on. They are parked
     * with [dev.rejoin.ParkReason.REJECTED]; the detail contains [reason].
     */
    public fun reject(table: String, reason: String, rejects: (Row) -> Boolean = { true }): Unit =
        synchronized(rows) { push.rules += FakeRule(rows.table(table).name, reason, rejects) }

    /** Ends the effect of all calls of [reject]. */
    public fun acceptAll(): Unit = synchronized(rows) { push.rules.clear() }

    /**
     * Inserts or updates a row, as another device of its owner. Clients receive it with their next pull.
     *
     * @param key the row's key; a number or text.
     * @param values null, [Boolean], a number, [String] or [ByteArray] by column. A new row without an owner belongs to
     *   [USER].
     */
    public fun changeRow(table: String, key: Any, vararg values: Pair<String, Any?>): Unit =
        synchronized(rows) {
            val of = rows.table(table)
            val name = RowName(table, key.toString())
            val created = of.newRow(name.id) + of.owner?.let { mapOf(it to JsonPrimitive(USER)) }.orEmpty()
            rows.set(name, (rows.cells(name) ?: created) + values.associate { (column, value) -> column to of.toWire(column, value) })
            rows.commit(listOf(name))
        }

    /** Deletes a row, as another device of its owner. */
    public fun deleteRow(table: String, key: Any): Unit =
        synchronized(rows) {
            val name = RowName(rows.table(table).name, key.toString())
            require(rows.cells(name) != null) { "table $table has no row $key" }
            rows.set(name, null)
            rows.commit(listOf(name))
        }

    /** The rows of a table, of all users or of one, in key order, with all columns of the schema. */
    public fun rows(table: String, user: String? = null): RowBuffer =
        synchronized(rows) { rows.table(table).let { of -> of.rows(rows.live(of, user).map { it.second }) } }

    /** Number of requests so far that reached this endpoint: `register`, `schema`, `push`, `pull` or `snapshot`. */
    public fun requests(endpoint: String): Int = synchronized(rows) { counts[endpoint] ?: 0 }

    override suspend fun send(request: HttpRequest): HttpResponse {
        if (offline) throw RejoinException.Offline("the fake server is offline")
        val endpoint = request.url.substringAfterLast('/').substringBefore('?')
        val token = request.headers.firstOrNull { it.name.equals("Authorization", ignoreCase = true) }?.value?.removePrefix("Bearer ")
        val body = request.body?.let { Json.parseToJsonElement(it.decodeToString()).jsonObject } ?: JsonObject(emptyMap())
        val user = if (unauthorized) null else token?.let(userOf)
        val response =
            synchronized(rows) {
                counts.merge(endpoint, 1, Int::plus)
                protocol.answer(endpoint, body, user)
            }
        if (losesPushResponses && endpoint == "push") throw IOException("the fake server lost its response")
        return response
    }

    public companion object {
        /** The user of [client] unless another is given. */
        public const val USER: String = "user"
    }
}
