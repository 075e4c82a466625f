/*
 * Runs the scenarios of tests/scenarios, shared by all languages; each is one test.
 */
package dev.rejoin

import dev.rejoin.interop.Device
import dev.rejoin.interop.Hooks
import dev.rejoin.interop.text
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import kotlinx.serialization.json.longOrNull
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DisplayName
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.MethodSource
import java.io.File
import java.nio.file.Files
import kotlin.math.abs
import kotlin.time.Duration.Companion.seconds

class ScenarioTest {
    @DisplayName("scenario")
    @ParameterizedTest(name = "{0}")
    @MethodSource("scenarios")
    fun scenario(
        @Suppress("unused") name: String,
        scenario: JsonObject,
    ) = runBlocking { withTimeout(60.seconds) { ScenarioRun(scenario).run() } }

    private companion object {
        @JvmStatic
        fun scenarios(): List<Array<Any>> {
            val files = File(System.getProperty("rejoin.module")).resolve("../../tests/scenarios").listFiles { file -> file.extension == "json" }!!
            return files.sorted().flatMap { Json.parseToJsonElement(it.readText()).jsonArray }.map { arrayOf(it.jsonObject.text("name"), it) }
        }
    }
}

private class ScenarioRun(private val scenario: JsonObject) : Hooks {
    private val folder = Files.createTempDirectory("rejoin-scenario")
    private val variables = mutableMapOf("folder" to folder.toString())
    private val server by lazy { StoryServer("tokens" in scenario, "log" in scenario) }
    private val device = Device(this)
    private var usesServer = false

    suspend fun run() {
        try {
            for (raw in scenario.getValue("steps").jsonArray.map { it.jsonObject }) {
                val step = resolve(JsonObject(raw - "expect" - "save"), NONE)
                val isOfServer = raw["on"]?.jsonPrimitive?.content == "server"
                usesServer = usesServer || isOfServer
                check(raw, if (isOfServer) server.order(JsonObject(step - "on")) else device.answer(if (step.text("do") == "open") opening(step) else step))
            }
        } finally {
            device.end()
            if (usesServer) server.close()
            folder.toFile().deleteRecursively()
        }
    }

    /** An `open` step with its path, address and manifest filled in. */
    private fun opening(step: JsonObject): JsonObject {
        val isSynced = "server" in step
        val more = mutableMapOf<String, JsonElement>("path" to JsonPrimitive("$folder/${step["on"]?.jsonPrimitive?.content ?: "main"}.db"))
        usesServer = usesServer || isSynced || "schema" in step
        if (isSynced) more += mapOf("url" to JsonPrimitive(server.url), "user" to JsonPrimitive("u1"))
        more += step
        if (isSynced || "schema" in step) more["schema"] = Json.parseToJsonElement(server.schema)
        return JsonObject(more)
    }

    override fun resolve(step: JsonObject, given: JsonObject): JsonObject = replaced(step, given).jsonObject

    /** A value with its variables, `${'$'}{name}` in any text, replaced. */
    private fun replaced(value: JsonElement, given: JsonObject): JsonElement =
        when (value) {
            is JsonArray -> JsonArray(value.map { replaced(it, given) })
            is JsonObject -> JsonObject(value.mapValues { replaced(it.value, given) })
            is JsonPrimitive -> if (value.isString) JsonPrimitive(value.content.replace(VARIABLE) { (given[it.groupValues[1]]?.jsonPrimitive?.content ?: variables[it.groupValues[1]]) ?: it.value }) else value
        }

    override fun check(step: JsonObject, answer: JsonObject) {
        matches(answer, replaced(step["expect"] ?: NO_ERROR, NONE), "$step: $answer")
        for ((name, path) in step["save"]?.jsonObject.orEmpty()) {
            val found = path.jsonPrimitive.content.split('.').fold<String, JsonElement>(answer) { value, part -> if (value is JsonArray) value[part.toInt()] else value.jsonObject.getValue(part) }
            variables[name] = found.jsonPrimitive.content
        }
    }

    /** Compares an answer with an expectation, as tests/scenarios/README.md defines. */
    private fun matches(actual: JsonElement?, expected: JsonElement, where: String) {
        val text = (actual as? JsonPrimitive)?.content
        when {
            expected is JsonNull -> assertTrue(actual == null || actual is JsonNull, where)
            expected is JsonObject -> for ((name, one) in expected) matches((actual as? JsonObject)?.get(name), one, where)
            expected is JsonArray -> {
                assertEquals(expected.size, (actual as? JsonArray)?.size, where)
                expected.forEachIndexed { at, one -> matches(actual?.jsonArray?.get(at), one, where) }
            }
            expected !is JsonPrimitive -> error(where)
            expected.longOrNull != null && !expected.isString -> assertEquals(expected.long, ((actual as? JsonObject)?.get("i") ?: actual)?.jsonPrimitive?.content?.toLongOrNull(), where)
            expected.booleanOrNull != null || !expected.isString -> assertEquals(expected, actual, where)
            expected.content == "*" -> assertTrue(actual != null && actual !is JsonNull, where)
            expected.content == "@now" -> assertTrue(abs(text!!.toLong() - System.currentTimeMillis()) < 600_000, where)
            expected.content.startsWith("~") -> assertTrue(expected.content.drop(1).split('~').all { it in text!! }, where)
            expected.content.startsWith("!") -> assertTrue(expected.content.drop(1) !in text!!, where)
            else -> assertEquals(expected.content, text, where)
        }
    }

    private companion object {
        val NONE = JsonObject(emptyMap())
        val NO_ERROR = JsonObject(mapOf("error" to JsonNull))
        val VARIABLE = Regex("""\$\{(\w+)}""")
    }
}
