/*
 * Each method that concerns the server, against a real one in a process of its own.
 */
package dev.rejoin

import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Clock
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

class SyncTest {
    @Test
    fun `syncAndWait pushes, pulls and reports`() =
        story {
            val server = server()
            val (phone, tablet) = server.run { device() to device() }
            phone.adds("t1", "buy milk")
            // Waiting starts the syncing, whose own first pass may be quicker and is not in the report: then it counts nothing.
            val report = phone.syncAndWait()
            assertTrue(report.accepted in 0L..1L && report.parked == 0L && report.stillPending == 0L, "$report")
            assertEquals(listOf(listOf("t1", "buy milk", "u1")), server.rows("SELECT id, title, user_id FROM task"))
            assertTrue(tablet.syncAndWait(1.minutes).pulled in 0L..1L)
            assertEquals(listOf("buy milk"), tablet.titles())
        }

    @Test
    fun `start syncs by itself, stop ends it, and the status tells`() =
        story {
            val server = server()
            val client = server.run { device() }
            assertEquals(SyncStatus(SyncState.Idle, FirstSync.ABSENT), client.status.value)
            client.start()
            client.start()
            val upToDate = client.reaches { it is SyncState.UpToDate } as SyncState.UpToDate
            assertTrue((Clock.System.now() - upToDate.since).absoluteValue < 10.minutes, "$upToDate")
            client.status.first { it.firstSync == FirstSync.DONE }
            client.adds("t1", "buy milk")
            while (client.pending().isNotEmpty()) delay(1.milliseconds)
            assertEquals(listOf(listOf("1")), server.rows("SELECT count(*) FROM task"))
            client.stop()
            client.reaches { it is SyncState.Stopped }
            client.adds("t2", "waits")
            assertEquals(1, client.pendingCounts().pending)
        }

    @Test
    fun `without a server start is refused, and offline is no exception of start`() =
        story {
            refused<RejoinException.InvalidInput> { local().start() }
            val server = server()
            val client = server.run { device() }
            server.stops()
            client.start()
            val offline = client.reaches { it is SyncState.Offline } as SyncState.Offline
            assertTrue(offline.why.isNotEmpty() && offline.retryAt != null, "$offline")
            refused<RejoinException.Offline> { client.syncAndWait() }
            refused<RejoinException.Offline> { client.waitForFirstSync(100.milliseconds) }
            server.goes()
            client.syncNow()
            client.waitForFirstSync()
            client.waitForFirstSync(1.milliseconds) // It has been.
        }

    @Test
    fun `the network and the foreground are told`() =
        story {
            val server = server()
            val client = server.run { device() }
            client.setNetwork(online = false)
            client.start()
            assertEquals(null, (client.reaches { it is SyncState.Offline } as SyncState.Offline).retryAt)
            client.setNetwork(online = true, metered = true)
            client.reaches { it is SyncState.UpToDate }
            client.foreground()
        }

    @Test
    fun `pending tells what waits, and a verdict ends the wait`() =
        story {
            val client = server().run { device() } // Nothing has asked for a sync yet.
            client.transaction { tx ->
                tx.execute("INSERT INTO task(id, title) VALUES ('t1', 'buy milk')")
                tx.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 't1', 'home')")
            }
            val mutation = client.pending().single()
            assertEquals(MutationState.PENDING, mutation.state)
            assertEquals(listOf("task" to "t1", "tag" to "g1"), mutation.rows.map { it.table to it.key })
            assertEquals(PatchKind.INSERT, mutation.rows[0].operation)
            assertEquals("buy milk", mutation.rows[0].columns.single { it.name == "title" }.newValue)
            assertTrue((Clock.System.now() - mutation.written).absoluteValue < 10.minutes, "${mutation.written}")
            assertNull(mutation.reason ?: mutation.becauseOf ?: mutation.action)
            assertEquals(PendingCounts(pending = 1, sent = 0, uncertain = 0, parked = 0), client.pendingCounts())
            assertEquals(RowSyncState.PENDING, client.rowSyncState("task", "t1"))

            assertEquals(Verdict.Accepted, client.verdict(mutation.id, 1.minutes))
            assertEquals(emptyList<PendingMutation>(), client.pending())
            assertEquals(RowSyncState.SYNCED, client.rowSyncState("task", "t1"))
            assertEquals(Verdict.Accepted, client.verdict(mutation.id))
        }

    @Test
    fun `a refused write is parked with its reason until it is discarded`() =
        story {
            val client = server().run { device() }
            client.adds("t1", "refused")
            val mutation = client.pending().single()
            assertEquals(0, client.syncAndWait().stillPending)
            val verdict = client.verdict(mutation.id) as Verdict.Parked
            assertEquals(ParkReason.REJECTED, verdict.reason)
            val parked = client.pending().single()
            assertEquals(MutationState.PARKED to ParkReason.REJECTED, parked.state to parked.reason)
            assertEquals(RowSyncState.PARKED, client.rowSyncState("task", "t1"))
            client.discard(parked.id)
            assertEquals(emptyList<String>(), client.titles())
            assertEquals(emptyList<PendingMutation>(), client.pending())
            refused<RejoinException.InvalidInput> { client.discard(parked.id) }
            assertEquals(Verdict.Unknown, client.verdict(parked.id, 1.minutes))
        }

    @Test
    fun `what does not exist is invalid input`() =
        story {
            val client = server().run { device() }
            refused<RejoinException.InvalidInput> { client.discard("no such id") }
            refused<RejoinException.InvalidInput> { client.verdict("no such id") }
            client.createTable("note", "id TEXT PRIMARY KEY")
            refused<RejoinException.InvalidInput> { client.rowSyncState("note", "a") }
        }

    @Test
    fun `a declared rule that does not hold names its table, column and rule`() =
        story {
            val client = server().run { device() }
            client.adds("t1", "buy milk")
            val why = refused<RejoinException.Constraint> { client.execute("INSERT INTO task(id, title) VALUES ('t2', NULL)") }
            assertEquals(Triple("task", "title", "NOT NULL"), Triple(why.table, why.column, why.rule))
            assertEquals(listOf("buy milk"), client.titles())
        }

    @Test
    fun `remote changes are told with their keys`() =
        story {
            val server = server()
            val (phone, tablet) = server.run { device() to device() }
            tablet.syncAndWait()
            phone.adds("t1", "buy milk")
            phone.syncAndWait()
            val told = async { tablet.changes("task").first { it.origin == ChangeOrigin.REMOTE } }
            var change: Change? = null
            while (change == null) {
                // Until the collector has begun nothing is told.
                tablet.syncAndWait()
                server.runs("UPDATE task SET rank = rank + 1")
                if (told.isCompleted) change = told.await()
            }
            assertEquals(listOf("task"), change.tables.map { it.name })
            assertEquals(listOf("t1"), change.tables.single().keys)
        }
}
