/*
 * Watched queries and changes as flows: cold, conflated, ended by the collector or the client.
 */
package dev.rejoin

import app.cash.turbine.test
import dev.rejoin.ffi.Change as FfiChange
import dev.rejoin.ffi.ChangeOrigin as FfiOrigin
import dev.rejoin.ffi.ChangedTable as FfiTable
import dev.rejoin.ffi.SqlValue as FfiValue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Duration.Companion.seconds

class WatchTest {
    private val insert = "INSERT INTO note VALUES (?, ?)"

    @Test
    fun `watch emits rows now and after each change`() =
        story {
            val client = local()
            client.watch("SELECT body FROM note WHERE body <> ? ORDER BY id", "hidden").map { rows -> rows.map { it.string(0) } }.test(60.seconds) {
                assertEquals(emptyList<String>(), awaitItem())
                client.execute(insert, "a", "one")
                assertEquals(listOf("one"), awaitItem())
                client.execute(insert, "b", "hidden") // Changes the table but not the result.
                client.execute(insert, "c", "three")
                assertEquals(listOf("one", "three"), awaitItem())
                cancelAndIgnoreRemainingEvents()
            }
        }

    @Test
    fun `read-only client follows the commits of another one`() =
        story {
            val client = local()
            val reader = ReadOnlyClient.open(client.path)
            reader.watch("SELECT body FROM note WHERE id = ?", "a").map { rows -> rows.map { it.string(0) } }.test(60.seconds) {
                assertEquals(emptyList<String>(), awaitItem())
                client.execute(insert, "a", "one")
                assertEquals(listOf("one"), awaitItem())
                val counts = reader.queryMany(Statement("SELECT 1"), Statement("SELECT id FROM note WHERE id = ?", "a"))
                assertEquals(listOf(1, 1), counts.map { it.size })
                refused<RejoinException.InvalidInput> { reader.query("DELETE FROM note RETURNING id") }
                reader.shutdown()
                awaitComplete()
            }
            refused<RejoinException.Closed> { reader.query("SELECT 1") }
            refused<RejoinException.Storage> { ReadOnlyClient.open("${client.path}.missing") }
        }

    @Test
    fun `watch maps its rows`() =
        story {
            val client = local()
            client.watch("SELECT id, body FROM note") { it.string("id") to it.string("body") }.test(60.seconds) {
                assertEquals(0, awaitItem().size)
                client.execute(insert, "a", "one")
                assertEquals(listOf("a" to "one"), awaitItem())
                cancelAndIgnoreRemainingEvents()
            }
        }

    @Test
    fun `watch with key reports added, changed, removed rows`() =
        story {
            val client = local()
            client.batch(listOf(Statement(insert, "a", "one"), Statement(insert, "b", "two")))
            client.watchDifferences("SELECT id, body FROM note ORDER BY id", key = listOf("id")).test(60.seconds) {
                assertEquals(RowDifference(listOf(0, 1), emptyList(), emptyList()), awaitItem().difference)
                client.batch(
                    listOf(Statement("DELETE FROM note WHERE id = 'a'"), Statement("UPDATE note SET body = 'x'"), Statement(insert, "c", "three")),
                )
                val update = awaitItem()
                assertEquals(listOf("x", "three"), update.rows.map { it.string("body") })
                assertEquals(RowDifference(added = listOf(1), changed = listOf(0), removed = listOf(0)), update.difference)
                cancelAndIgnoreRemainingEvents()
            }
            refused<RejoinException.InvalidInput> { client.watchDifferences("SELECT 1", key = emptyList()) }
        }

    @Test
    fun `watch is cold, one watch per collector`() =
        story {
            val client = local()
            val bodies = client.watch("SELECT body FROM note") { it.string(0) }
            client.execute(insert, "a", "one")
            val collectors = List(3) { async { bodies.take(2).toList() } }
            // Each collector gets the results from its own start on.
            while (!collectors.all { it.isCompleted }) client.execute("UPDATE note SET body = body || 'x'")
            assertEquals(client.notes(), bodies.first())
            for (collector in collectors) {
                val (first, second) = collector.await()
                assertTrue(first != second, "$first, $second")
            }
        }

    @Test
    fun `invalid query fails the flow on collection`() =
        story {
            val client = local()
            val watch = client.watch("SELECT nothing FROM note")
            refused<RejoinException.InvalidInput> { watch.first() }
            refused<RejoinException.InvalidInput> { client.watch("DELETE FROM note RETURNING id").first() }
            refused<RejoinException.InvalidInput> { client.watch("SELECT body FROM note") { it.string("id") }.also { client.execute(insert, "a", "x") }.first() }
        }

    @Test
    fun `flow ends at shutdown and pauses while suspended`() =
        story {
            val client = local()
            val seen = Channel<List<String>>(Channel.UNLIMITED)
            val changes = async { client.changes("note").toList() }
            val watch = launch { client.watch("SELECT body FROM note") { it.string(0) }.collect { seen.send(it) } }
            assertEquals(0, seen.receive().size)
            client.sync.suspend()
            client.sync.resume()
            client.execute(insert, "a", "one")
            assertEquals(listOf("one"), seen.receive())
            client.shutdown()
            watch.join()
            changes.await()
        }

    @Test
    fun `coroutine without dispatcher is supported`() =
        story {
            val client = local()
            withContext(Dispatchers.Unconfined) {
                val watching = async { client.watch("SELECT body FROM note") { it.string(0) }.take(3).toList() }
                for (number in 1..50) {
                    client.transaction { it.execute("INSERT OR REPLACE INTO note VALUES ('a', ?)", "$number") }
                    assertEquals(listOf("$number"), client.notes())
                }
                while (!watching.isCompleted) client.execute("UPDATE note SET body = body || 'x'")
                assertEquals(3, watching.await().size)
            }
        }

    @Test
    fun `changes report tables and origin`() =
        story {
            val client = local()
            client.schema.createTable("other", "id TEXT PRIMARY KEY")
            client.changes("note").test(60.seconds) {
                // The first change proves that collection has started; earlier ones may be missed.
                var first: Change? = null
                while (first == null) {
                    client.execute("INSERT OR REPLACE INTO note VALUES ('a', 'one')")
                    first = runCatching { expectMostRecentItem() }.getOrNull()
                }
                assertEquals(ChangeOrigin.LOCAL, first.origin)
                assertEquals(listOf("note"), first.tables.map { it.name })
                client.execute("INSERT INTO other VALUES ('x')")
                client.execute("DELETE FROM note")
                do assertEquals(listOf("note"), awaitItem().tables.map { it.name }) while (client.notes().isNotEmpty())
                cancelAndIgnoreRemainingEvents()
            }
        }

    @Test
    fun `uncollected changes are merged`() {
        val table = { name: String, keys: List<Any?>? -> ChangedTable(name, keys) }
        val first = Change(ChangeOrigin.REMOTE, listOf(table("task", listOf("a", "b")), table("tag", null)), queue = false)
        val then = Change(ChangeOrigin.REMOTE, listOf(table("task", listOf("b", "c")), table("tag", listOf("x")), table("note", null)), queue = true)
        val tables = listOf(table("task", listOf("a", "b", "c")), table("tag", null), table("note", null))
        assertEquals(listOf(Change(ChangeOrigin.REMOTE, tables, queue = true)), merged(listOf(first, then)))
    }

    @Test
    fun `thousands of uncollected changes use bounded memory`() {
        val mailbox = ChangeMailbox(Channel(Channel.CONFLATED))
        val key = { number: Int -> FfiValue.Integer(number.toLong()) }
        val ofKeys = { number: Int -> FfiChange(FfiOrigin.LOCAL, listOf(FfiTable("task", listOf(key(number)))), number == 0) }
        repeat(20_000) { mailbox.onChange(ofKeys(it)) }
        assertEquals(listOf(Change(ChangeOrigin.LOCAL, listOf(ChangedTable("task", null)), queue = true)), mailbox.take())
        repeat(100) { mailbox.onChange(ofKeys(it % 3 + 1)) }
        assertEquals(listOf(1L, 2L, 3L), mailbox.take().single().tables.single().keys)
    }
}
