/*
 * The cases of SQLDelight's own driver tests (DriverTest, QueryTest), which are not published, for both drivers.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.Query
import app.cash.sqldelight.async.coroutines.awaitAsList
import app.cash.sqldelight.async.coroutines.awaitAsOne
import app.cash.sqldelight.async.coroutines.awaitAsOneOrNull
import app.cash.sqldelight.async.coroutines.awaitQuery
import app.cash.sqldelight.db.SqlCursor
import app.cash.sqldelight.db.SqlDriver
import app.cash.sqldelight.db.SqlPreparedStatement
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class RejoinSqlDriverTest : DriverTest(::RejoinSqlDriver)

class RejoinBlockingSqlDriverTest : DriverTest(::RejoinBlockingSqlDriver)

abstract class DriverTest(private val open: (RejoinClient) -> SqlDriver) {
    private fun driver(body: suspend Driven.() -> Unit) =
        story {
            val driver = open(local())
            driver.execute(null, "CREATE TABLE test (id INTEGER PRIMARY KEY, value TEXT)", 0).await()
            val kinds = "CREATE TABLE kinds (id INTEGER PRIMARY KEY, whole INTEGER, text TEXT, data BLOB, real REAL, truth BOOLEAN)"
            driver.execute(null, kinds, 0).await()
            Driven(driver).body()
        }

    class Driven(val driver: SqlDriver) {
        suspend fun insert(id: Long, value: String?): Long =
            driver.execute(2, "INSERT INTO test VALUES (?, ?)", 2) {
                bindLong(0, id)
                bindString(1, value)
            }.await()

        suspend fun rows(sql: String = "SELECT * FROM test ORDER BY id", binders: (SqlPreparedStatement.() -> Unit)? = null): List<Pair<Long?, String?>> =
            driver.awaitQuery(3, sql, { cursor -> cursor.all { it.getLong(0) to it.getString(1) } }, if (binders == null) 0 else 1, binders)

        fun query(): Query<Pair<Long, String>> =
            Query(4, arrayOf("test"), driver, "SELECT id, value FROM test ORDER BY id") { it.getLong(0)!! to it.getString(1)!! }

        private suspend fun <T> SqlCursor.all(map: (SqlCursor) -> T): List<T> = buildList { while (next().await()) add(map(this@all)) }
    }

    @Test
    fun `insert can run multiple times`() =
        driver {
            assertEquals(emptyList<Any>(), rows())
            assertEquals(1, insert(1, "Alec"))
            assertEquals(listOf<Any>(1L to "Alec"), rows())
            assertEquals(1, insert(2, "Jake"))
            assertEquals(listOf<Any>(1L to "Alec", 2L to "Jake"), rows())
            assertEquals(2, driver.execute(5, "DELETE FROM test", 0).await())
            assertEquals(emptyList<Any>(), rows())
        }

    @Test
    fun `query can run multiple times`() =
        driver {
            insert(1, "Alec")
            insert(2, "Jake")
            for (name in listOf("Jake", "Alec", "Jake")) {
                assertEquals(listOf(name), rows("SELECT * FROM test WHERE value = ?") { bindString(0, name) }.map { it.second })
            }
        }

    @Test
    fun `getters return null for NULL`() =
        driver {
            val binders: SqlPreparedStatement.() -> Unit = {
                bindLong(0, 1)
                bindLong(1, null)
                bindString(2, null)
                bindBytes(3, null)
                bindDouble(4, null)
                bindBoolean(5, null)
            }
            assertEquals(1, driver.execute(7, "INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?)", 6, binders).await())
            driver.awaitQuery(8, "SELECT * FROM kinds", { cursor ->
                assertTrue(cursor.next().await())
                assertEquals(1, cursor.getLong(0))
                val cells = listOf(cursor.getLong(1), cursor.getString(2), cursor.getBytes(3), cursor.getDouble(4), cursor.getBoolean(5))
                assertEquals(List(5) { null }, cells)
            }, 0)
        }

    @Test
    fun `values of all types are stored and read`() =
        driver {
            for ((id, truth) in listOf(1L to true, 2L to false)) {
                driver.execute(null, "INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?)", 6) {
                    bindLong(0, id)
                    bindLong(1, Long.MIN_VALUE)
                    bindString(2, "ä🙂")
                    bindBytes(3, byteArrayOf(0, -1))
                    bindDouble(4, -0.5)
                    bindBoolean(5, truth)
                }.await()
            }
            val read =
                driver.awaitQuery(null, "SELECT * FROM kinds ORDER BY id", { cursor ->
                    List(2) {
                        cursor.next().await()
                        assertArrayEquals(byteArrayOf(0, -1), cursor.getBytes(3))
                        listOf(cursor.getLong(1), cursor.getString(2), cursor.getDouble(4), cursor.getBoolean(5))
                    }.also { assertFalse(cursor.next().await()) }
                }, 0)
            assertEquals(listOf(true, false).map { listOf(Long.MIN_VALUE, "ä🙂", -0.5, it) }, read)
        }

    @Test
    fun `cell of another type throws with its column`() =
        driver {
            insert(1, "text")
            refusedNaming("value", "text", "integer") {
                driver.awaitQuery(null, "SELECT value FROM test", { it.next().await(); it.getLong(0) }, 0)
            }
            refusedNaming("next()") { driver.awaitQuery(null, "SELECT value FROM test", { it.getString(0) }, 0) }
            refusedNaming("parameter index 1") { driver.execute(null, "DELETE FROM test WHERE id = ?", 1) { bindLong(1, 1) }.await() }
        }

    @Test
    fun `writing statement returns rows`() =
        driver {
            val sql = "WITH new(id) AS (SELECT 3) INSERT INTO test SELECT id, 'new' FROM new RETURNING id, value"
            assertEquals(listOf<Any>(3L to "new"), rows(sql))
            assertEquals(listOf<Any>(3L to "newer"), rows("UPDATE test SET value = 'newer' RETURNING *"))
            assertEquals(listOf<Any>(3L to "newer"), rows("WITH all_rows AS (SELECT * FROM test) SELECT * FROM all_rows"))
        }

    @Test
    fun `query of one row`() =
        driver {
            assertNull(query().awaitAsOneOrNull())
            refused<NullPointerException> { query().awaitAsOne() }
            insert(1, "val1")
            val query = query()
            assertEquals(1L to "val1", query.awaitAsOne())
            assertEquals(query.awaitAsOneOrNull(), query.awaitAsOne())
            insert(2, "val2")
            refused<IllegalStateException> { query.awaitAsOne() }
            assertEquals(listOf(1L to "val1", 2L to "val2"), query.awaitAsList())
        }

    @Test
    fun `closed driver and closed client throw Closed`() =
        story {
            val client = local()
            val (closed, open) = open(client) to open(client)
            closed.close()
            closed.close()
            refused<RejoinException.Closed> { closed.execute(null, "CREATE TABLE a (id)", 0).await() }
            open.execute(null, "CREATE TABLE b (id)", 0).await() // The client stays open.
            client.shutdown()
            refused<RejoinException.Closed> { open.execute(null, "DELETE FROM b", 0).await() }
            refused<RejoinException.Closed> { open.awaitQuery(null, "SELECT * FROM b", { it.next().await() }, 0) }
        }
}
