/*
 * Arguments and results of actions as Kotlin types: by name, as a map, as JSON and as classes.
 */
package dev.rejoin

import kotlinx.serialization.Serializable
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonArray
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.add
import kotlinx.serialization.json.put
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Instant

class ActionArgumentsTest {
    @Serializable
    enum class Colour { RED, GREEN }

    @Serializable
    data class Point(val x: Int, val y: Int)

    @Serializable
    class Everything(
        val text: String,
        val whole: Long,
        val real: Double,
        val flag: Boolean,
        val at: Instant,
        val bytes: ByteArray,
        val point: Point,
        val colour: Colour = Colour.GREEN,
        val more: ByteArray? = null,
        val note: String? = null,
    )

    private val at = Instant.parse("2026-01-02T03:04:05.678Z")
    private val types = ActionParameterType.entries.map { ActionParameter(it.name.lowercase(), it, optional = true) }.toTypedArray()
    private val given =
        mapOf(
            "text" to "\u65e5 \uD83D\uDE00",
            "integer" to Long.MAX_VALUE,
            "real" to 0.1f,
            "boolean" to true,
            "time" to at,
            "blob" to byteArrayOf(0, -1, 127),
            "json" to mapOf("list" to listOf(1, null, "x"), "deep" to mapOf("it" to 1.5)),
        )

    @Test
    fun `arguments of each type reach the action unchanged`() =
        story {
            lateinit var seen: ActionArguments
            val client = offline(Actions { handler("see", *types) { _, arguments -> seen = arguments } })
            client.perform("see", given)
            assertEquals("\u65e5 \uD83D\uDE00", seen.string("text"))
            assertEquals(Long.MAX_VALUE, seen.long("integer"))
            assertEquals(0.1, seen.double("real"))
            assertEquals(true, seen.boolean("boolean"))
            assertEquals(at, seen.instant("time"))
            assertArrayEquals(byteArrayOf(0, -1, 127), seen.bytes("blob"))
            val expected =
                buildJsonObject {
                    put("list", buildJsonArray { add(1); add(JsonNull); add("x") })
                    put("deep", buildJsonObject { put("it", 1.5) })
                }
            assertEquals(expected, seen["json"])
            // Again by name, and as JSON.
            val whole = seen.json
            client.perform("see", *given.toList().toTypedArray())
            assertEquals(whole, seen.json)
            client.perform("see", whole)
            assertEquals(whole, seen.json)
            client.perform("see", "text" to JsonPrimitive("one pair"))
            assertEquals("one pair", seen.string("text"))
        }

    @Test
    fun `omitted argument is null or throws by getter`() =
        story {
            lateinit var seen: ActionArguments
            val client = offline(Actions { handler("see", *types) { _, arguments -> seen = arguments } })
            client.perform("see", "text" to null)
            assertEquals(JsonNull, seen["text"])
            val getters =
                listOf(
                    ActionArguments::stringOrNull, ActionArguments::longOrNull, ActionArguments::doubleOrNull,
                    ActionArguments::booleanOrNull, ActionArguments::instantOrNull, ActionArguments::bytesOrNull,
                )
            assertTrue(getters.all { it(seen, "text") == null })
            val without = listOf(seen::string, seen::long, seen::double, seen::boolean, seen::instant, seen::bytes)
            for (getter in without) assertTrue("was left out" in refused<RejoinException.InvalidInput> { getter("text") }.reason)
            // An argument of another type is not null.
            client.perform("see", "json" to listOf(1), "text" to "1", "real" to 1)
            for (getter in listOf(seen::longOrNull, seen::doubleOrNull, seen::booleanOrNull, seen::instantOrNull)) {
                assertTrue("the argument text is not" in refused<RejoinException.InvalidInput> { getter("text") }.reason)
            }
            for (getter in getters) refused<RejoinException.InvalidInput> { getter(seen, "json") }
            refused<RejoinException.InvalidInput> { seen.string("real") }
        }

    @Test
    fun `value without JSON form is rejected by argument name`() =
        story {
            val client = offline(Actions { handler("see", *types) { _, _ -> } })
            for ((value, words) in listOf(
                Any() to "cannot be converted to JSON",
                Double.NaN to "JSON cannot represent NaN",
                listOf(1, Float.POSITIVE_INFINITY) to "number 2: JSON cannot represent Infinity",
                mapOf(1 to 2) to "names must be text",
            )) {
                val why = refused<RejoinException.InvalidInput> { client.perform("see", "json" to value) }
                assertTrue(why.reason.startsWith("the arguments of action see: json: ") && words in why.reason, why.reason)
            }
            val list = refused<RejoinException.Action> { client.perform("see", listOf(1, 2)) }
            assertEquals(ActionFault.ARGUMENTS, list.fault)
        }

    @Test
    fun `class properties are the parameters and round-trip`() =
        story {
            val client =
                offline(
                    Actions {
                        handlerOf<Everything, Everything>("echo") { _, it -> it }
                        handlerOf<Point, Int>("sum") { _, it -> it.x + it.y }
                        handlerOf<Unit, Unit>("nothing") { _, _ -> }
                    },
                )
            val everything = Everything("x", Long.MIN_VALUE, 0.5, true, at, byteArrayOf(0, -1), Point(1, 2), Colour.RED, byteArrayOf(7))
            val back = client.perform("echo", everything).decode<Everything>()
            assertEquals(
                listOf("x", Long.MIN_VALUE, 0.5, true, at, Point(1, 2), Colour.RED, null),
                back.run { listOf(text, whole, real, flag, at, point, colour, note) },
            )
            assertArrayEquals(byteArrayOf(0, -1), back.bytes)
            assertArrayEquals(byteArrayOf(7), back.more)
            assertEquals(5, client.perform("sum", "x" to 2, "y" to 3).decode<Int>())
            assertEquals(JsonNull, client.perform("nothing").value)
            assertEquals(JsonNull, client.perform("nothing", Unit).value)

            val wrong = refused<RejoinException.Action> { client.perform("echo", "text" to 1, "more" to byteArrayOf(1)) }
            assertEquals(ActionFault.ARGUMENTS, wrong.fault)
            for (words in listOf("text is no text", "whole is missing", "at is missing", "point is missing")) assertTrue(words in wrong.detail, wrong.detail)
            for (words in listOf("more", "note", "colour")) assertTrue(words !in wrong.detail, wrong.detail)
            refused<RejoinException.InvalidInput> { client.perform("sum", Point(2, 3)).decode<Point>() }
            val large = refused<RejoinException.Callback> { client.perform("sum", "x" to Long.MAX_VALUE, "y" to 1) }
            assertTrue("the arguments of action sum" in large.reason, large.reason)
            refused<RejoinException.Configuration> { Actions { handlerOf<String, Unit>("text") { _, _ -> } } }
        }
}
