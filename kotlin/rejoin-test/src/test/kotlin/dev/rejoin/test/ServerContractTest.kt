/*
 * The contract of the fake server: the same scenarios with the same assertions on it and on the real server.
 */
package dev.rejoin.test

import dev.rejoin.Actions
import dev.rejoin.MutationState
import dev.rejoin.ParkReason
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.RowSyncState
import dev.rejoin.Statement
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class FakeServerContractTest : ServerContract(FakeTestServer())

class RealServerContractTest : ServerContract(RealTestServer())

abstract class ServerContract(private val server: TestServer) {
    private val opened = mutableListOf<RejoinClient>()

    private suspend fun device(user: String = "ana", actions: Actions? = null) = server.device(user, actions).also(opened::add)

    private fun tasks() = server.rows("task", "id", "user_id", "title", "done", "rank")

    private suspend fun RejoinClient.reasons() = queue.pending().map { it.reason }

    /** Two devices of one user that both have the task t1. */
    private suspend fun pair(): Pair<RejoinClient, RejoinClient> {
        val (phone, tablet) = device() to device()
        phone.adds("t1", "first")
        phone.syncs()
        assertEquals(1, tablet.syncs().pulled)
        return phone to tablet
    }

    @AfterEach
    fun end(): Unit =
        test {
            for (client in opened) client.shutdown()
            server.close()
        }

    @Test
    fun `push stores rows with owner and defaults`() =
        test {
            val phone = device()
            phone.adds("t1", "buy milk")
            phone.execute("INSERT INTO task(id, title, done, rank) VALUES ('t2', 'buy bread', 1, 7)")
            assertEquals(RowSyncState.PENDING, phone.queue.rowState("task", "t1"))
            assertEquals(2, phone.syncs().accepted)
            assertEquals(listOf(listOf("t1", "ana", "buy milk", "0", "0"), listOf("t2", "ana", "buy bread", "1", "7")), tasks())
            assertEquals(RowSyncState.SYNCED, phone.queue.rowState("task", "t1"))
            assertEquals(listOf("ana"), phone.query("SELECT DISTINCT user_id FROM task") { it.string(0) })
        }

    @Test
    fun `values of every type come back unchanged`() =
        test {
            val (phone, tablet) = device() to device()
            val insert = "INSERT INTO sample(id, number, measure, label, data) VALUES (?, ?, ?, ?, ?)"
            phone.execute(insert, "s1", Long.MAX_VALUE, 0.1, "Bäckerei", byteArrayOf(0, -1))
            phone.execute(insert, "s2", null, 3.0, null, null)
            phone.syncs()
            tablet.syncs()
            val all = "SELECT * FROM sample ORDER BY id"
            assertEquals(phone.query(all), tablet.query(all))
            assertEquals(listOf(Long.MAX_VALUE to 0.1, null to 3.0), tablet.query(all) { it.longOrNull("number") to it.double("measure") })
        }

    @Test
    fun `pull applies inserts, changes and deletes of others`() =
        test {
            val phone = device()
            server.changesTask("t1", "one")
            server.changesTask("t2", "two")
            assertEquals(2, phone.syncs().pulled)
            assertEquals(listOf("one", "two"), phone.titles())
            server.changesTask("t1", "changed")
            server.deletesTask("t2")
            phone.syncs()
            assertEquals(listOf("changed"), phone.titles())
            assertEquals(0, phone.syncs().pulled)
        }

    @Test
    fun `devices of a user share rows, other users see none`() =
        test {
            val (phone, tablet) = pair()
            phone.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 't1', 'home')")
            phone.syncs()
            tablet.syncs()
            assertEquals(listOf("home"), tablet.query("SELECT name FROM tag") { it.string(0) })
            val other = device("bob")
            other.adds("b1", "of bob")
            assertEquals(1, other.syncs().pulled) // Its own row.
            assertEquals(listOf("of bob"), other.titles())
            other.adds("t1", "a key that is taken")
            assertEquals(1, other.syncs().parked)
            assertEquals(listOf(ParkReason.CONFLICTED), other.reasons())
            assertEquals(listOf("of bob"), other.titles())
        }

    @Test
    fun `edits of different columns are merged`() =
        test {
            val (phone, tablet) = pair()
            phone.execute("UPDATE task SET title = 'renamed'")
            tablet.execute("UPDATE task SET rank = 5")
            for (device in listOf(phone, tablet, phone)) device.syncs()
            assertEquals(listOf(listOf("t1", "ana", "renamed", "0", "5")), tasks())
            assertEquals(phone.query("SELECT * FROM task"), tablet.query("SELECT * FROM task"))
        }

    @Test
    fun `conflict is parked with the server's row, retry overwrites it`() =
        test {
            val (phone, tablet) = pair()
            phone.execute("UPDATE task SET title = 'theirs'")
            tablet.execute("UPDATE task SET title = 'mine'")
            phone.syncs()
            assertEquals(1, tablet.syncs().parked)
            val parked = tablet.queue.pending().single()
            assertEquals(ParkReason.CONFLICTED, parked.reason)
            assertTrue("theirs" in parked.detail.orEmpty(), "${parked.detail}")
            assertEquals(listOf("theirs"), tablet.titles())
            tablet.queue.retry(parked.id)
            assertEquals(1, tablet.syncs().accepted)
            assertEquals("mine", tasks().single()[2])
        }

    @Test
    fun `remote change under a waiting edit of the same column parks it`() =
        test {
            val (phone, _) = pair()
            phone.execute("UPDATE task SET title = 'mine'")
            server.changesTask("t1", "theirs")
            phone.syncs()
            assertEquals(listOf(ParkReason.CONFLICTED), phone.reasons())
            assertEquals(listOf("theirs"), phone.titles())
        }

    @Test
    fun `rejected mutation is parked with its dependents, edit resolves it`() =
        test {
            val phone = device()
            phone.adds("t1", "refused")
            phone.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 't1', 'home')")
            phone.adds("t2", "fine")
            val report = phone.syncs()
            assertEquals(listOf<Long>(1, 2, 0), report.run { listOf(accepted, parked, stillPending) })
            assertEquals(listOf(ParkReason.REJECTED, ParkReason.DEPENDS), phone.reasons())
            assertEquals(listOf("fine"), phone.titles())
            assertEquals(listOf("t2"), tasks().map { it[0] })
            val edited = phone.queue.edit(phone.queue.pending().first().id, listOf(Statement("UPDATE task SET title = 'good' WHERE id = 't1'")))
            phone.queue.retryChain(checkNotNull(edited))
            assertEquals(2, phone.syncs().accepted)
            assertEquals(listOf(listOf("g1", "t1")), server.rows("tag", "id", "task_id"))
        }

    @Test
    fun `transaction is accepted or rejected as a whole`() =
        test {
            val phone = device()
            phone.transaction { tx ->
                for (title in listOf("one", "refused")) tx.execute("INSERT INTO task(id, title) VALUES (?, ?)", title, title)
            }
            assertEquals(1, phone.syncs().parked)
            assertEquals(emptyList<List<String?>>(), tasks())
            assertEquals(emptyList<String>(), phone.titles())
            phone.transaction { tx ->
                tx.execute("INSERT INTO task(id, title) VALUES ('t1', 'parent')")
                tx.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 't1', 'home')")
            }
            assertEquals(1, phone.syncs().accepted)
            assertEquals(1 to 1, tasks().size to server.rows("tag", "id").size)
        }

    @Test
    fun `delete reaches the server and other devices`() =
        test {
            val (phone, tablet) = pair()
            phone.execute("DELETE FROM task")
            assertEquals(1, phone.syncs().accepted)
            assertEquals(emptyList<List<String?>>(), tasks())
            tablet.execute("DELETE FROM task WHERE id = 't1'") // Not yet pulled: the result is what both want.
            assertEquals(1, tablet.syncs().accepted)
            assertEquals(emptyList<String>(), tablet.titles())
            tablet.adds("t1", "again")
            assertEquals(1, tablet.syncs().accepted)
            assertEquals("again", tasks().single()[2])
        }

    @Test
    fun `delete of a changed row and edit of a deleted row are conflicts`() =
        test {
            val (phone, tablet) = pair()
            phone.adds("t2", "second")
            for (device in listOf(phone, tablet)) device.syncs()
            tablet.execute("DELETE FROM task WHERE id = 't1'")
            tablet.execute("UPDATE task SET rank = 9 WHERE id = 't2'")
            server.changesTask("t1", "changed meanwhile")
            server.deletesTask("t2")
            assertEquals(2, tablet.syncs().parked)
            assertEquals(listOf(ParkReason.CONFLICTED, ParkReason.CONFLICTED), tablet.reasons())
            assertEquals(listOf("changed meanwhile"), tablet.titles())
        }

    @Test
    fun `writes wait offline and are sent online`() =
        test {
            val phone = device()
            server.reachable(false)
            phone.adds("t1", "written offline")
            phone.execute("UPDATE task SET rank = 3")
            refused<RejoinException.Offline> { phone.syncs() }
            phone.stop()
            assertEquals(listOf(MutationState.PENDING, MutationState.PENDING), phone.queue.pending().map { it.state })
            server.reachable(true)
            assertEquals(2, phone.syncs().accepted)
            assertEquals(listOf(listOf("t1", "ana", "written offline", "0", "3")), tasks())
        }

    @Test
    fun `actions of two devices on one value both count`() =
        test {
            val raise =
                Actions {
                    handler("raise") { context, _ -> context.execute("UPDATE task SET rank = rank + 1 WHERE id = 't1'") }
                }
            val (phone, tablet) = device(actions = raise) to device(actions = raise)
            server.changesTask("t1", "counted")
            for (device in listOf(phone, tablet)) device.syncs()
            for (device in listOf(phone, tablet)) device.perform("raise")
            for (device in listOf(phone, tablet, phone)) device.syncs()
            assertEquals("2", tasks().single()[4])
            assertEquals(listOf(2), phone.query("SELECT rank FROM task") { it.int(0) })
        }

    @Test
    fun `undo restores what the server had before`() =
        test {
            val (phone, _) = pair()
            phone.execute("UPDATE task SET title = 'changed', rank = 4")
            phone.syncs()
            phone.queue.undo(phone.queue.history(1).first().id)
            phone.syncs()
            assertEquals(listOf(listOf("t1", "ana", "first", "0", "0")), tasks())
        }
}
