/*
 * What apps live through, told on the real engine against a real server in a process of its own.
 */
package dev.rejoin

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.transformWhile
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicReference
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

class StoryTest {
    @Test
    fun `what two devices write offline is on both and on the server when the line is back`() =
        story {
            val server = server()
            val (phone, tablet) = server.run { device() to device() }
            phone.adds("t1", "buy milk")
            phone.syncAndWait()
            tablet.syncAndWait()

            server.stops()
            phone.execute("UPDATE task SET title = 'buy oat milk' WHERE id = 't1'")
            tablet.execute("UPDATE task SET done = 1, rank = 7 WHERE id = 't1'")
            phone.adds("t2", "from the phone")
            tablet.transaction { tx ->
                tx.execute("INSERT INTO task(id, title) VALUES ('t3', 'from the tablet')")
                tx.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 't3', 'home')")
            }
            for (device in listOf(phone, tablet)) refused<RejoinException.Offline> { device.syncAndWait() }
            assertEquals(listOf("buy oat milk", "from the phone"), phone.titles())
            assertEquals(2, phone.pendingCounts().run { pending + sent + uncertain })

            server.goes()
            repeat(2) { for (device in listOf(phone, tablet)) device.syncAndWait() }
            val expected = listOf(listOf("t1", "buy oat milk", "1", "7"), listOf("t2", "from the phone", "0", "0"), listOf("t3", "from the tablet", "0", "0"))
            val all = "SELECT id, title, done, rank FROM task ORDER BY id"
            assertEquals(expected, server.rows(all).map { row -> row.map { if (it == "true") "1" else if (it == "false") "0" else it } })
            for (device in listOf(phone, tablet)) {
                assertEquals(expected, device.query(all) { row -> (0 until 4).map { row[it].toString() } })
                assertEquals(listOf("home"), device.query("SELECT name FROM tag") { it.string(0) })
                assertEquals(0, device.pending().size)
            }
        }

    @Test
    fun `a full-text index finds what came from elsewhere`() =
        story {
            val server = server()
            val (phone, tablet) = server.run { device() to device() }
            assertEquals("search_task", tablet.createSearchIndex("task", "title"))
            phone.adds("t1", "two caf\u00e9s")
            phone.syncAndWait()
            tablet.syncAndWait()
            suspend fun found(words: String) =
                tablet.query("SELECT task.id FROM search_task JOIN task USING (id) WHERE search_task MATCH ?", words) { it.string(0) }
            assertEquals(listOf("t1"), found("cafes"))
            assertEquals(emptyList<String>(), found("wo"))
            assertEquals("search_task", tablet.createSearchIndex("task", "title", tokenizer = "trigram"))
            assertEquals(listOf("t1"), found("caf"))
            refused<RejoinException.InvalidInput> { tablet.createSearchIndex("task", "nothing") }
            tablet.dropSearchIndex("task")
            refused<RejoinException.InvalidInput> { found("cafes") }
        }

    @Test
    fun `a slow reader of a thousand changes gets the latest`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('n', '0')")
            val reader =
                async {
                    client.watch("SELECT body FROM note") { it.string(0).toInt() }
                        .transformWhile { (number) ->
                            emit(number)
                            delay(3.milliseconds)
                            number < 1_000
                        }.toList()
                }
            for (number in 1..1_000) client.execute("UPDATE note SET body = ?", "$number")
            val seen = reader.await()
            assertEquals(1_000, seen.last())
            assertEquals(seen.sorted().distinct(), seen)
            assertTrue(seen.size < 1_000, "nothing was skipped: ${seen.size}")
        }

    @Test
    fun `a token that ends in the middle is refreshed, and nothing is asked of the user`() =
        story {
            val server = server()
            val token = AtomicReference(server.token("u1"))
            val asked = ConcurrentLinkedQueue<Boolean>()
            val client =
                server.run {
                    device(
                        tokens = { refresh ->
                            asked.add(refresh)
                            if (refresh) token.set(token("u1"))
                            token.get()
                        },
                    )
                }
            client.adds("t1", "before")
            client.syncAndWait()
            assertTrue(asked.none { it }, "$asked")

            server.expiresAllTokens()
            client.adds("t2", "after")
            assertEquals(0, client.syncAndWait().stillPending)
            assertEquals(1, asked.count { it })
            assertEquals(listOf(listOf("2")), server.rows("SELECT count(*) FROM task"))

            // With nothing new to be had it is a status, and the write waits.
            val old = AtomicReference(server.token("u1", seconds = -60))
            val signedOut = server.run { device(tokens = { old.get() }) }
            signedOut.adds("t3", "signed out")
            refused<RejoinException.Unauthorized> { signedOut.syncAndWait() }
            signedOut.reaches { it is SyncState.NeedsAuth }
            old.set(server.token("u1"))
            signedOut.credentialsChanged()
            assertEquals(0, signedOut.syncAndWait().stillPending)
        }

    private class Own(where: String) : RuntimeException(where)

    @Test
    fun `an exception in each kind of callback ends nothing but its own call`() =
        story {
            val server = server()
            val broken = AtomicReference<String?>(null)
            fun maybe(where: String) = broken.get().let { if (it == where) throw Own(where) }
            val plain = server.run { device() }
            val client = server.run { device(tokens = { maybe("token"); token("u1") }) }
            val carried =
                server.run {
                    device(
                        transport =
                            object : HttpTransport {
                                override suspend fun send(request: HttpRequest): HttpResponse = throw Own("send")

                                override fun disconnect() = throw Own("disconnect")
                            },
                    )
                }
            Rejoin.setLogger(LogLevel.TRACE) { throw Own("log") }
            try {
                for (device in listOf(client, carried)) device.adds("t-${device.path.hashCode()}", "local work")

                // Those that the engine waits for: the call fails, and the next one does not.
                broken.set("token")
                refused<RejoinException> { client.syncAndWait() }
                broken.set(null)
                client.credentialsChanged()
                assertEquals(0, client.syncAndWait().stillPending)
                refused<RejoinException> { carried.syncAndWait() }
                carried.suspend()
                carried.resume()
                assertEquals(1, carried.titles().size)

                // Those of the face: what they throw arrives at the caller as it is.
                for (call in listOf<suspend () -> Any?>(
                    { client.transaction { throw Own("body") } },
                    { client.transaction { tx -> tx.savepoint { throw Own("savepoint") } } },
                    { client.read { throw Own("read") } },
                    { client.query("SELECT * FROM task") { throw Own("row") } },
                    { client.watch("SELECT * FROM task") { throw Own("watched row") }.first() },
                    { client.watch("SELECT * FROM task").collect { throw Own("collector") } },
                    { client.status.collect { throw Own("status") } },
                )) {
                    val thrown = runCatching { call() }.exceptionOrNull()
                    assertTrue(thrown is Own, "$thrown")
                }
                val told = async { runCatching { client.changes().collect { throw Own("change") } }.exceptionOrNull() }
                while (!told.isCompleted) client.execute("UPDATE task SET rank = rank + 1").also { delay(1.milliseconds) }
                assertTrue(told.await() is Own)
            } finally {
                Rejoin.setLogger(LogLevel.ERROR, null)
            }

            // And all of it still works.
            client.syncAndWait()
            plain.syncAndWait()
            assertEquals(client.titles(), plain.titles())
            assertEquals(1, client.transaction { it.execute("UPDATE task SET title = 'still here'") })
        }

    @Test
    fun `a hundred callers at once all get their answer`() =
        story {
            val client = local()
            client.execute("INSERT INTO note VALUES ('sum', '0')")
            val answers =
                List(100) { caller ->
                    async(Dispatchers.IO) {
                        repeat(10) { round ->
                            when ((caller + round) % 5) {
                                0 -> client.execute("INSERT INTO note VALUES (?, 'x')", "$caller-$round")
                                1 -> assertEquals(1, client.query("SELECT * FROM note WHERE id = 'sum'").size)
                                2 -> client.watch("SELECT count(*) FROM note") { it.long(0) }.first()
                                3 -> client.read { it.query("SELECT count(*) FROM note") }
                            }
                        }
                        client.transaction { tx ->
                            val sum = tx.query("SELECT body FROM note WHERE id = 'sum'")[0].string(0).toInt()
                            tx.execute("UPDATE note SET body = ? WHERE id = 'sum'", "${sum + 1}")
                        }
                    }
                }
            assertEquals(100L, answers.awaitAll().sum())
            assertEquals("100", client.query("SELECT body FROM note WHERE id = 'sum'")[0].string(0))
            assertEquals(201, client.query("SELECT count(*) FROM note")[0].int(0))
        }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    fun `two thousand opens and shutdowns leave nothing behind`() =
        story(18.minutes) {
            val files = List(4) { file() }

            // Every fourth syncs, with nobody there; of three one is shut down, one is closed and one is merely let go.
            suspend fun once(number: Int) {
                val syncs = number % 4 == 3
                val client = RejoinClient.open(RejoinConfig(files[number % 4], serverUrl = "http://127.0.0.1:9".takeIf { syncs }))
                if (syncs) client.start()
                client.createTable("note", "id TEXT PRIMARY KEY, body TEXT")
                client.transaction { it.execute("INSERT OR REPLACE INTO note VALUES ('n', ?)", "$number") }
                assertEquals("$number", client.watch("SELECT body FROM note") { it.string(0) }.first().single())
                when (number % 3) {
                    0 -> client.shutdown()
                    1 -> client.close()
                }
            }
            repeat(500) { once(it) }
            val early = List(3) { Footprint.now().also { repeat(250) { number -> once(number) } } }
            repeat(500) { once(it) }
            val late = List(3) { repeat(250) { number -> once(number) }.let { Footprint.now() } }
            println("2,000 opens: early $early, late $late")
            // What is measured goes up and down with the JVM's own threads and arenas; what leaks only goes up.
            assertTrue(late.minOf { it.threads } <= early.maxOf { it.threads } + 4, "threads: $early, $late")
            assertTrue(late.minOf { it.descriptors } <= early.maxOf { it.descriptors } + 2, "descriptors: $early, $late")
            assertTrue(late.minOf { it.heap } <= early.maxOf { it.heap } + 4, "heap: $early, $late")
            assertTrue(late.minOf { it.native } <= early.maxOf { it.native } + 16, "native memory: $early, $late")
        }

    @Test
    fun `what an app on the Synchro SDK had not sent comes along`() =
        story {
            val server = server()
            val phone = server.device()
            val old = file()
            server.runs(
                """
                ATTACH '$old' AS old;
                CREATE TABLE old._synchro_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
                CREATE TABLE old._synchro_pending_changes (record_id TEXT NOT NULL, table_name TEXT NOT NULL, operation TEXT NOT NULL,
                  base_updated_at TEXT, client_updated_at TEXT NOT NULL, PRIMARY KEY (table_name, record_id));
                CREATE TABLE old.task (id TEXT PRIMARY KEY, title TEXT, done INTEGER, rank INTEGER, updated_at TEXT, deleted_at TEXT);
                CREATE TRIGGER old._synchro_cdc_insert_task AFTER INSERT ON task WHEN 0 BEGIN SELECT 1; END;
                CREATE TABLE old.draft (id TEXT PRIMARY KEY);
                INSERT INTO old.task VALUES ('old', 'from before', 1, 2, '2026-01-01 00:00:00', NULL);
                INSERT INTO old._synchro_pending_changes VALUES ('old', 'task', 'create', NULL, '2026-01-02T00:00:00.000Z');
                DETACH old;
                """,
            )
            val report = phone.importSynchro(old)
            assertEquals(listOf(ImportedTable("task", 0, 1, 0, 0, emptyList())), report.tables)
            val (left) = report.leftOut
            assertEquals(listOf("draft", null, 0), listOf(left.table, left.recordId, left.unsent))
            assertEquals(listOf(0, 0), listOf(report.takenBefore, report.awaiting))
            assertEquals(listOf("from before"), phone.titles())
            phone.syncAndWait()
            assertEquals(listOf(listOf("from before")), server.rows("SELECT title FROM task"))
            assertEquals(1, phone.importSynchro(old).takenBefore)
            refused<RejoinException.Storage> { phone.importSynchro("/nowhere/old.db") }
        }
}
