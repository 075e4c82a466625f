/*
 * The contract of the fake server: rows that are pushed, pulled, shared, merged and deleted. Contract.kt explains it.
 */
package dev.rejoin.test

import dev.rejoin.MutationState
import dev.rejoin.ParkReason
import dev.rejoin.RejoinException
import dev.rejoin.RowSyncState
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class FakeRowContractTest : RowContract(FakeTestServer())

class RealRowContractTest : RowContract(RealTestServer())

abstract class RowContract(server: TestServer) : Contract(server) {
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
    fun `writes wait offline and are sent online`() =
        test {
            val phone = device()
            server.reachable(false)
            phone.adds("t1", "written offline")
            phone.execute("UPDATE task SET rank = 3")
            refused<RejoinException.Offline> { phone.syncs() }
            phone.stop()
            assertEquals(listOf(MutationState.PENDING, MutationState.PENDING), phone.queue.all().map { it.state })
            server.reachable(true)
            assertEquals(2, phone.syncs().accepted)
            assertEquals(listOf(listOf("t1", "ana", "written offline", "0", "3")), tasks())
        }
}
