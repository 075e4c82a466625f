/*
 * A real sync server in its own process, controlled by lines of JSON (tests/story-server/src/main.rs).
 */
package dev.rejoin

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put
import java.io.BufferedReader
import java.io.BufferedWriter

class StoryServer(
    withTokens: Boolean = true,
    withLog: Boolean = false,
) : AutoCloseable {
    private val process: Process
    private val orders: BufferedWriter
    private val answers: BufferedReader

    /** The address that it listens on. */
    val url: String

    init {
        val program = System.getenv("REJOIN_STORY_SERVER") ?: error("set REJOIN_STORY_SERVER to the program rejoin-story-server")
        val command = listOfNotNull(program, "--tokens".takeIf { withTokens }, "--log".takeIf { withLog })
        process = ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start()
        orders = process.outputWriter()
        answers = process.inputReader()
        url = answer().getValue("url").jsonPrimitive.content
    }

    /** A token of this user; expired if the lifetime is zero or negative. */
    fun token(user: String, seconds: Int = 3600): String =
        order("token") {
            put("user", user)
            put("seconds", seconds)
        }.getValue("token").jsonPrimitive.content

    /** Writes to the server's database, as another program would. */
    fun runs(sql: String): Int = order("sql") { put("sql", sql) }.getValue("changes").jsonPrimitive.int

    /** Rows of the server's database, each cell as text. */
    fun rows(sql: String): List<List<String?>> =
        order("rows") { put("sql", sql) }.getValue("rows").jsonArray.map { row ->
            (row as JsonArray).map { it.jsonPrimitive.contentOrNull }
        }

    /** The manifest, as bundled with an app. */
    val schema: String by lazy { order("schema").getValue("schema").toString() }

    private fun order(name: String, more: JsonObjectBuilder.() -> Unit = {}): JsonObject =
        order(
            buildJsonObject {
                put("do", name)
                more()
            },
        )

    /** Sends a command and returns its answer. */
    fun order(line: JsonObject): JsonObject =
        synchronized(this) {
            orders.write(line.toString())
            orders.newLine()
            orders.flush()
            val answer = answer()
            answer["error"]?.let { error("$line: ${(it as JsonPrimitive).content}") }
            answer
        }

    private fun answer(): JsonObject =
        Json.parseToJsonElement(answers.readLine() ?: error("the story server has ended")).jsonObject

    /** The process exits when its input is closed. */
    override fun close() {
        orders.close()
        process.waitFor()
    }
}
