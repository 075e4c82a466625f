/*
 * Why there is no driver for Room (docs/sqldelight.md): statements that Room 2.8.4 runs, and whether the engine accepts
 * them. If a test fails here, update that page.
 */
package dev.rejoin.sqldelight

import dev.rejoin.RejoinException
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class RoomStatementsTest {
    private val log = "room_table_modification_log (table_id INTEGER PRIMARY KEY, invalidated INTEGER NOT NULL DEFAULT 0)"

    private fun trigger(temp: String) =
        "CREATE $temp TRIGGER IF NOT EXISTS `room_table_modification_trigger_task_INSERT` AFTER INSERT ON `task` BEGIN " +
            "UPDATE room_table_modification_log SET invalidated = 1 WHERE table_id = 0 AND invalidated = 0; END"

    @Test
    fun `statements of opening, transactions and tracking are refused`() =
        story {
            val driver = RejoinBlockingSqlDriver(offline())
            val refused =
                listOf(
                    "PRAGMA busy_timeout = 3000",
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = NORMAL",
                    "PRAGMA query_only = 1",
                    "PRAGMA temp_store = MEMORY",
                    "PRAGMA recursive_triggers = 1",
                    "BEGIN EXCLUSIVE TRANSACTION",
                    "BEGIN IMMEDIATE TRANSACTION",
                    "BEGIN DEFERRED TRANSACTION",
                    "SAVEPOINT '1'",
                    "RELEASE SAVEPOINT '1'",
                    "ROLLBACK TRANSACTION TO SAVEPOINT '1'",
                    "END TRANSACTION",
                    "ROLLBACK TRANSACTION",
                    trigger("TEMP"),
                    "CREATE TEMP TABLE IF NOT EXISTS $log",
                )
            for (sql in refused) {
                val reason = refused<RejoinException.InvalidInput> { driver.execute(null, sql, 0) }.reason
                assertTrue("transaction control" in reason || "the engine sets the pragmas" in reason || "temporary trigger" in reason || "queries run on other connections" in reason, "$sql: $reason")
            }
        }

    @Test
    fun `synced table does not pass Room's validation`() =
        story {
            val client = offline()
            // Room requires a NOT NULL key and compares this flag, all columns and all indexes.
            val key = client.query("SELECT name, pk, \"notnull\" FROM pragma_table_info('task') WHERE pk > 0")[0]
            assertEquals(listOf<Any?>("id", 1L, 0L), listOf(key[0], key[1], key[2]))
            val indexes = client.query("SELECT name FROM pragma_index_list('task') WHERE origin = 'c'") { it.string(0) }
            assertEquals(1, indexes.size)
            assertTrue(indexes.single().startsWith("rejoin_rule_"), "$indexes")
        }

    @Test
    fun `ordinary tracking table and triggers are allowed`() =
        story {
            val client = offline()
            val driver = RejoinBlockingSqlDriver(client)
            for (sql in listOf("CREATE TABLE $log", "INSERT INTO room_table_modification_log VALUES (0, 0)", trigger(""))) driver.execute(null, sql, 0)
            client.execute("INSERT INTO task (id, title) VALUES ('t1', 'x')")
            assertEquals(1L, client.query("SELECT invalidated FROM room_table_modification_log")[0].long(0))
        }
}
