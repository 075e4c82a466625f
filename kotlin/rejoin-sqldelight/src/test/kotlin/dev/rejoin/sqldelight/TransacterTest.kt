/*
 * The cases of SQLDelight's own transaction tests (TransacterTest), which are not published, for both kinds of databases.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.db.SqlDriver
import dev.rejoin.RejoinClient
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class SuspendingTransacterTest : TransacterTest(::RejoinSqlDriver, ::Suspending)

class BlockingTransacterTest : TransacterTest(::RejoinBlockingSqlDriver, ::Blocking)

abstract class TransacterTest(private val open: (RejoinClient) -> SqlDriver, private val transacter: (SqlDriver) -> Transacting) {
    private class Own : Exception("the app's own")

    /** Runs [body] with a list of the hooks that ran; [rows] are the rows after it. */
    private fun hooks(vararg expected: String, rows: Int, body: suspend Transacting.(MutableList<String>, SqlDriver) -> Unit) =
        story {
            val client = local()
            client.schema.createTable("note", "id TEXT")
            val driver = open(client)
            val ran = mutableListOf<String>()
            transacter(driver).body(ran, driver)
            assertEquals(expected.toList(), ran)
            assertEquals(rows, client.query("SELECT * FROM note").size)
            assertNull(driver.currentTransaction())
            driver.execute(null, "DELETE FROM note", 0).await() // The writer is free.
        }

    private suspend fun SqlDriver.write() = execute(null, "INSERT INTO note VALUES ('x')", 0).await()

    @Test
    fun `afterCommit runs after the commit`() =
        hooks("commit", rows = 1) { ran, driver ->
            transaction {
                afterCommit { ran += "commit" }
                afterRollback { ran += "rollback" }
                driver.write()
                assertEquals(emptyList<String>(), ran)
            }
        }

    @Test
    fun `afterRollback runs after rollback`() =
        hooks("rollback", rows = 0) { ran, driver ->
            transaction {
                afterCommit { ran += "commit" }
                afterRollback { ran += "rollback" }
                driver.write()
                rollback()
            }
        }

    @Test
    fun `hooks of nested transactions run with the enclosing commit`() =
        hooks("outer", "inner", rows = 2) { ran, driver ->
            transaction {
                afterCommit { ran += "outer" }
                driver.write()
                transaction {
                    afterCommit { ran += "inner" }
                    driver.write()
                }
                assertEquals(emptyList<String>(), ran)
            }
        }

    @Test
    fun `rollback of the enclosing transaction reverts the nested one`() =
        hooks("inner rollback", rows = 0) { ran, driver ->
            transaction {
                transaction {
                    afterCommit { ran += "inner commit" }
                    afterRollback { ran += "inner rollback" }
                    driver.write()
                }
                rollback()
            }
        }

    @Test
    fun `rollback of a nested transaction reverts the enclosing one`() =
        hooks("outer rollback", rows = 0) { ran, driver ->
            transaction {
                afterCommit { ran += "outer commit" }
                afterRollback { ran += "outer rollback" }
                driver.write()
                transaction { rollback() }
                throw AssertionError("not reached")
            }
        }

    @Test
    fun `swallowed error of a nested transaction reverts all`() =
        hooks("rollback", rows = 0) { ran, driver ->
            transaction {
                afterRollback { ran += "rollback" }
                driver.write()
                runCatching { transaction { throw Own() } }
            }
        }

    @Test
    fun `transactions close themselves`() =
        hooks("1", "2", rows = 2) { ran, driver ->
            for (name in listOf("1", "2")) {
                transaction(noEnclosing = true) {
                    afterCommit { ran += name }
                    driver.write()
                }
            }
        }

    @Test
    fun `noEnclosing inside a transaction throws`() =
        hooks(rows = 1) { _, driver ->
            val outer = this
            transaction(noEnclosing = true) {
                refused<IllegalStateException> { outer.transaction(noEnclosing = true) { throw AssertionError("not reached") } }
                driver.write()
            }
        }

    @Test
    fun `error of the body reaches the caller`() =
        hooks(rows = 0) { _, driver ->
            refused<Own> {
                transaction {
                    driver.write()
                    throw Own()
                }
            }
            val both =
                refused<Throwable> {
                    transaction {
                        afterRollback { error("in the hook") }
                        throw Own()
                    }
                }
            assertTrue("Own" in both.toString() && "in the hook" in both.toString(), "$both")
        }

    @Test
    fun `transaction returns a value`() =
        hooks(rows = 0) { _, _ -> assertEquals(listOf("returned", "rolled back"), listOf(result(null), result("rolled back"))) }

    @Test
    fun `write in afterCommit is a transaction of its own`() =
        hooks(rows = 3) { _, driver ->
            val outer = this
            transaction {
                afterCommit { runBlocking { driver.write(); outer.transaction { driver.write() } } }
                driver.write()
            }
        }
}
