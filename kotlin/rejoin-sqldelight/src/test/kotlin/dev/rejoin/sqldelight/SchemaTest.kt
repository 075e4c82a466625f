/*
 * Generated schemas and migrations: the app's own tables are created and changed, synced tables are compared.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.async.coroutines.awaitCreate
import app.cash.sqldelight.db.AfterVersion
import app.cash.sqldelight.db.QueryResult
import app.cash.sqldelight.db.SqlDriver
import app.cash.sqldelight.db.SqlSchema
import app.notes.NotesDatabase
import dev.rejoin.Keep
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class SchemaTest {
    /** A schema as SQLDelight generates it without generateAsync. */
    private class Statements(override val version: Long, val create: List<String>, val migrate: List<String> = emptyList()) :
        SqlSchema<QueryResult.Value<Unit>> {
        constructor(vararg create: String) : this(1, create.toList())

        override fun create(driver: SqlDriver): QueryResult.Value<Unit> = run(driver, create)

        override fun migrate(driver: SqlDriver, oldVersion: Long, newVersion: Long, vararg callbacks: AfterVersion): QueryResult.Value<Unit> =
            run(driver, migrate)

        private fun run(driver: SqlDriver, statements: List<String>): QueryResult.Value<Unit> {
            for (sql in statements) driver.execute(null, sql, 0)
            return QueryResult.Unit
        }
    }

    private val task = "CREATE TABLE task (id TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL)"
    private val draft = "CREATE TABLE draft (id INTEGER PRIMARY KEY, body TEXT)"

    private suspend fun RejoinClient.objects() =
        query("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'rejoin%' AND name NOT LIKE 'sqlite%' ORDER BY name") { it.string(0) }

    @Test
    fun `schema is created once, beside the synced tables`() =
        story {
            val file = file()
            repeat(2) {
                val client = offline(file)
                client.createOrMigrate(NotesDatabase.Schema)
                assertEquals(listOf("draft", "sqldelight_schema_version", "task", "task_by_rank", "task_gone"), client.objects())
                assertEquals(7, client.query("SELECT * FROM pragma_table_info('task')").size) // The server's columns.
                assertEquals(0, client.queue.all().size)
                client.shutdown()
            }
        }

    @Test
    fun `create of the driver skips synced tables`() =
        story {
            val client = offline()
            val driver = RejoinSqlDriver(client)
            NotesDatabase.Schema.awaitCreate(driver)
            assertEquals(listOf("draft", "task", "task_by_rank", "task_gone"), client.objects())
            refusedNaming("task", "colour") { driver.execute(null, "CREATE TABLE IF NOT EXISTS task (id TEXT PRIMARY KEY, colour TEXT)", 0).await() }
            refusedNaming("synced table task", "manifest") { driver.execute(null, "DROP TABLE task", 0).await() }
        }

    @Test
    fun `declared column that differs is named`() =
        story {
            val client = offline()
            val differences =
                mapOf(
                    "CREATE TABLE task (id TEXT PRIMARY KEY, colour TEXT)" to arrayOf("task", "column colour", "is not in the server's table", ".sq file"),
                    "CREATE TABLE Task (id TEXT PRIMARY KEY, title INTEGER)" to arrayOf("Task", "column title", "INTEGER", "TEXT"),
                    "CREATE TABLE task (id TEXT PRIMARY KEY, rank REAL)" to arrayOf("column rank", "REAL"),
                    "CREATE TABLE task (id TEXT PRIMARY KEY, note)" to arrayOf("column note", "BLOB"),
                    "CREATE TABLE task (id TEXT, title TEXT PRIMARY KEY)" to arrayOf("column id", "key"),
                    "CREATE TABLE task (id TEXT, title TEXT)" to arrayOf("column id", "key"),
                )
            for ((sql, parts) in differences) {
                refusedNaming(*parts) { client.createOrMigrate(Statements(draft, sql)) }
                assertEquals(listOf("task"), client.objects(), sql) // Nothing was created.
            }
            client.createOrMigrate(Statements(draft, "CREATE TABLE TASK (ID VARCHAR(36) PRIMARY KEY, done INTEGER, rank BIGINT)"))
        }

    @Test
    fun `synced tables are compared at every start`() =
        story {
            val client = offline()
            client.createOrMigrate(Statements(draft, task))
            client.createOrMigrate(Statements(draft, task))
            refusedNaming("task", "colour") { client.createOrMigrate(Statements(draft, "CREATE TABLE task (id TEXT PRIMARY KEY, colour TEXT)")) }
        }

    @Test
    fun `migration changes the app's own tables`() =
        story {
            val client = offline()
            client.createOrMigrate(Statements(draft, task))
            client.execute("INSERT INTO draft (body) VALUES ('kept')")
            val second = listOf("ALTER TABLE draft ADD COLUMN size REAL", "CREATE TABLE tag (id TEXT)", "UPDATE draft SET size = 1.5")
            repeat(2) { client.createOrMigrate(Statements(2, listOf(draft, task), second)) }
            assertEquals(listOf("kept" to 1.5), client.query("SELECT body, size FROM draft") { it.string(0) to it.double(1) })
            refusedNaming("version 2", "only 1") { client.createOrMigrate(Statements(draft, task)) }
        }

    @Test
    fun `migration of a synced table is refused by name`() =
        story {
            val client = offline()
            client.createOrMigrate(Statements(draft, task))
            val changes =
                listOf(
                    "ALTER TABLE task ADD COLUMN colour TEXT",
                    "ALTER TABLE task RENAME TO tasks",
                    "DROP TABLE task",
                    "CREATE UNIQUE INDEX once ON task (title)",
                    "CREATE TABLE task (id TEXT PRIMARY KEY, colour TEXT)",
                )
            for (sql in changes) {
                refusedNaming("task", "manifest") {
                    client.createOrMigrate(Statements(2, listOf(draft, task), listOf("CREATE TABLE tag (id TEXT)", sql)))
                }
                assertEquals(listOf("draft", "sqldelight_schema_version", "task"), client.objects(), sql) // Nothing of it.
            }
            refusedNaming("trigger t", "task") {
                val trigger = "CREATE TRIGGER t AFTER INSERT ON draft BEGIN DELETE FROM task; END"
                client.createOrMigrate(Statements(2, listOf(draft, task), listOf(trigger)))
            }
        }

    @Test
    fun `version survives a reset that empties all tables`() =
        story {
            val client = offline()
            client.createOrMigrate(Statements(draft, task))
            client.execute("INSERT INTO draft (body) VALUES ('gone')")
            client.storage.reset(Keep.NOTHING)
            client.createOrMigrate(Statements(2, listOf(draft, task), listOf("ALTER TABLE draft ADD COLUMN size REAL")))
            assertEquals(listOf("id", "body", "size"), client.query("SELECT * FROM draft").columns)
        }

    @Test
    fun `schema that reads is rejected`() =
        story {
            val reading =
                object : SqlSchema<QueryResult.Value<Unit>> by Statements(draft) {
                    override fun create(driver: SqlDriver): QueryResult.Value<Unit> {
                        driver.executeQuery(null, "SELECT 1", { it.next() }, 0)
                        return QueryResult.Unit
                    }
                }
            val client = offline()
            refusedNaming("SELECT 1") { client.createOrMigrate(reading) }
            client.transaction { refused<RejoinException.InvalidInput> { client.createOrMigrate(Statements(draft)) } }
        }
}
