/*
 * The contract of the fake server: conflicts, rejections, whole transactions, actions and undo. Contract.kt explains it.
 */
package dev.rejoin.test

import dev.rejoin.Actions
import dev.rejoin.ParkReason
import dev.rejoin.Statement
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class FakeVerdictContractTest : VerdictContract(FakeTestServer())

class RealVerdictContractTest : VerdictContract(RealTestServer())

abstract class VerdictContract(server: TestServer) : Contract(server) {
    @Test
    fun `conflict is parked with the server's row, retry overwrites it`() =
        test {
            val (phone, tablet) = pair()
            phone.execute("UPDATE task SET title = 'theirs'")
            tablet.execute("UPDATE task SET title = 'mine'")
            phone.syncs()
            assertEquals(1, tablet.syncs().parked)
            val parked = tablet.queue.all().single()
            assertEquals(ParkReason.CONFLICTED, parked.reason)
            val row = parked.detail?.rows?.single()
            assertEquals("mine" to "theirs", row?.mine?.get("title") to row?.theirs?.get("title"), "${parked.detail}")
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
            val edited = phone.queue.edit(phone.queue.all().first().id, listOf(Statement("UPDATE task SET title = 'good' WHERE id = 't1'")))
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

    @Test
    fun `undo does not revert what another device had already written`() =
        test {
            val (phone, tablet) = pair()
            for (device in listOf(phone, tablet)) device.execute("UPDATE task SET title = 'the same', rank = rank + 1")
            phone.syncs()
            tablet.execute("UPDATE task SET note = 'of the tablet'")
            assertEquals(2, tablet.syncs().accepted)
            for (mutation in tablet.queue.history(2)) tablet.queue.undo(mutation.id)
            tablet.syncs()
            assertEquals(listOf(listOf("the same", "1", null)), server.rows("task", "title", "rank", "note"))
        }
}
