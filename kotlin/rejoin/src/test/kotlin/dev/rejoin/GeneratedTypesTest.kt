/*
 * The output of `rejoin generate` for cli/tests/schema.json, used on a client.
 */
package dev.rejoin

import app.schema.CountriesRow
import app.schema.FavoriteMarksRow
import app.schema.PlacesRow
import app.schema.resetAll
import app.schema.subscribeEverything
import app.schema.subscribeHarbour2
import app.schema.takePart
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonArray
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Test
import java.io.File
import kotlin.time.Duration.Companion.hours

class GeneratedTypesTest {
    private val full =
        PlacesRow(
            id = "p1",
            name = "Quay \$1 \"north\"",
            class_ = "harbour",
            firstName = "na\u00efve",
            _2nd = Long.MIN_VALUE,
            in_ = true,
            open = false,
            height = 0.1,
            price = "12.50",
            visits = Long.MAX_VALUE,
            photo = byteArrayOf(0, -1),
            seenAt = "2026-01-02T03:04:05.000006Z",
            day = "2026-01-02",
            at = "03:04:05",
            tags = """["a","b"]""",
            extra = """{"n":1}""",
            cost = "5 \$",
        )

    private val sparse = PlacesRow(id = "p2", name = "", in_ = false, height = -1.5, visits = 0)

    private suspend fun RejoinClient.places(): List<PlacesRow> = query("SELECT * FROM ${PlacesRow.TABLE} ORDER BY id").decode()

    @Test
    fun `row is inserted, read, updated and deleted`() =
        story {
            val client = offline { copy(schema = generatedFrom("schema.json")) }
            assertEquals(1, client.execute(full.insert()))
            assertEquals(1, client.execute(sparse.insert()))
            assertEquals(listOf(full, sparse), client.places())
            assertArrayEquals(byteArrayOf(0, -1), client.places().first().photo)

            val changed = full.copy(class_ = null, in_ = false, open = true, visits = 1, photo = null)
            assertEquals(1, client.execute(changed.update()))
            assertEquals(listOf(changed, sparse), client.places())

            assertEquals(1, client.execute(PlacesRow.delete("p1")))
            assertEquals(listOf(sparse), client.places())
            assertEquals(emptyList<CountriesRow>(), client.query("SELECT * FROM ${CountriesRow.TABLE}").decode<CountriesRow>())
        }

    @Test
    fun `statement runs in a transaction, an action and a batch`() =
        story {
            val actions = Actions { handler("mark") { context, _ -> context.execute(FavoriteMarksRow("m1").insert()) } }
            val client = offline(actions) { copy(schema = generatedFrom("schema.json")) }
            client.transaction { tx ->
                assertEquals(1, tx.execute(full.insert()))
                assertEquals(1, tx.execute(PlacesRow.delete("p1")))
                assertEquals(0, tx.execute(full.update()))
            }
            assertEquals(1, client.perform("mark").decode<Int>())
            assertEquals(listOf(1L, 1L), client.batch(listOf(full.insert(), FavoriteMarksRow.delete("m1"))))
            assertEquals(listOf(full), client.places())
        }

    @Test
    fun `function of a declared action performs it`() =
        story {
            val actions =
                Actions {
                    declare(generatedFrom("take_part.json"))
                    declare(generatedFrom("reset_all.json"))
                }
            val client = offline(actions) { copy(schema = generatedFrom("schema.json")) }
            client.execute(sparse.insert())
            val taken = client.takePart("p2", quantity = Long.MAX_VALUE, class_ = true, photo = byteArrayOf(0, -1), extra = JsonPrimitive("x"))
            assertEquals(mapOf("visits" to Long.MAX_VALUE), taken.decode<Map<String, Long>>())
            assertEquals(listOf(sparse.copy(visits = Long.MAX_VALUE)), client.places())

            client.resetAll()
            assertEquals(listOf(sparse), client.places())
            assertEquals(listOf(null, "take_part", "reset-all"), client.queue.all().map { it.action })
        }

    @Test
    fun `function of an action passes every kind of argument`() =
        story {
            val parameters =
                arrayOf(
                    ActionParameter("part", ActionParameterType.TEXT),
                    ActionParameter("quantity", ActionParameterType.INTEGER),
                    ActionParameter("class", ActionParameterType.BOOLEAN, optional = true),
                    ActionParameter("photo", ActionParameterType.BLOB, optional = true),
                    ActionParameter("extra", ActionParameterType.JSON, optional = true),
                )
            val given = mutableListOf<ActionArguments>()
            val actions = Actions { handler("take_part", *parameters) { _, arguments -> given += arguments } }
            val client = offline(actions) { copy(schema = generatedFrom("schema.json")) }
            val extra = buildJsonArray { add(JsonPrimitive(1)) }

            client.takePart("\$part", Long.MIN_VALUE, class_ = false, photo = byteArrayOf(0, -1), extra = extra)
            client.takePart("p1", 1)
            val (all, few) = given
            assertEquals("\$part" to Long.MIN_VALUE, all.string("part") to all.long("quantity"))
            assertEquals(false to extra, all.boolean("class") to all["extra"])
            assertArrayEquals(byteArrayOf(0, -1), all.bytes("photo"))
            assertEquals("p1" to 1L, few.string("part") to few.long("quantity"))
            for (name in listOf("class", "photo", "extra")) assertEquals(JsonNull, few[name], name)
        }

    @Test
    fun `function of a stream subscribes to it`() =
        story {
            val client = offline { copy(schema = generatedFrom("schema.json")) }
            val harbour = client.sync.subscribeHarbour2("\$fishing", ttl_ = Long.MIN_VALUE, ttl = 2.hours, priority = 1)
            val everything = client.sync.subscribeEverything()
            val parameters = mapOf("class" to "\$fishing", "ttl" to "${Long.MIN_VALUE}")
            val expected =
                listOf(
                    SubscribedStream("harbour-2", parameters, 1, 2.hours, null, StreamStatus.Waiting),
                    SubscribedStream("everything", emptyMap(), 3, 24.hours, null, StreamStatus.Waiting),
                )
            assertEquals(expected, client.sync.subscriptions)
            for (held in listOf(harbour, everything)) held.close()
        }

    @Test
    fun `rows with bytes are compared by content`() {
        val same = full.copy(photo = byteArrayOf(0, -1))
        assertEquals(full to full.hashCode(), same to same.hashCode())
        for (other in listOf(full.copy(photo = byteArrayOf(0)), full.copy(photo = null), full.copy(name = ""))) assertNotEquals(full, other)
    }
}

/** The text of an input of `rejoin generate` for RejoinSchema.kt. */
fun generatedFrom(name: String): String = File(System.getProperty("rejoin.module")).resolve("../../cli/tests/$name").readText()
