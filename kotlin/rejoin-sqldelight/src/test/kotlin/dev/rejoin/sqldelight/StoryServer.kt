/*
 * A real sync server in its own process, controlled by lines of JSON (tests/story-server/src/main.rs).
 */
package dev.rejoin.sqldelight

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

class StoryServer : AutoCloseable {
    private val process: Process
    private val schemaObject: JsonObject

    /** The address that it listens on. */
    val url: String

    /** The manifest, as bundled with an app. */
    val schema: String get() = schemaObject.toString()

    init {
        val program = System.getenv("REJOIN_STORY_SERVER") ?: error("set REJOIN_STORY_SERVER to the program rejoin-story-server")
        process = ProcessBuilder(program, "--tokens").redirectError(ProcessBuilder.Redirect.INHERIT).start()
        url = response().getValue("url").jsonPrimitive.content
        schemaObject = send("schema").getValue("schema").jsonObject
    }

    /** A token of this user. */
    fun token(user: String): String = send("token", "user" to user, "seconds" to 3600).getValue("token").jsonPrimitive.content

    private fun send(command: String, vararg arguments: Pair<String, Any>): JsonObject =
        synchronized(this) {
            val line =
                buildJsonObject {
                    put("do", JsonPrimitive(command))
                    for ((name, value) in arguments) put(name, if (value is Int) JsonPrimitive(value) else JsonPrimitive("$value"))
                }
            process.outputWriter().apply { write("$line\n") }.flush()
            response().also { answer -> answer["error"]?.let { error("$line: $it") } }
        }

    private fun response(): JsonObject =
        Json.parseToJsonElement(process.inputReader().readLine() ?: error("the story server has ended")).jsonObject

    /** The process exits when its input is closed. */
    override fun close() {
        process.outputWriter().close()
        process.waitFor()
    }
}
