/*
 * The databases of the benchmark, each with the same rows and the same settings for durability.
 */
package dev.rejoin.bench

import androidx.sqlite.SQLiteStatement
import androidx.sqlite.driver.bundled.BundledSQLiteDriver
import androidx.sqlite.execSQL
import dev.rejoin.Durability
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.Row
import dev.rejoin.Statement
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.map
import kotlinx.serialization.Serializable
import java.nio.file.Path
import java.sql.DriverManager
import java.sql.ResultSet

internal const val ROWS = 10_000
internal const val INSERT = "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
internal const val UPDATE = "UPDATE item SET title = ?, count = ? WHERE id = ?"
internal const val ALL = "SELECT * FROM item ORDER BY id"
internal const val COUNT = "SELECT count FROM item WHERE id = ?"
private const val COLUMNS = "id TEXT PRIMARY KEY, title TEXT, body TEXT, count INTEGER, amount REAL, done INTEGER, note TEXT, updated_at TEXT"

/** As the engine opens its own files. */
internal val PRAGMAS = listOf("journal_mode = wal", "synchronous = normal", "foreign_keys = on", "wal_autocheckpoint = 16000")

/** A row as an app stores it. */
@Serializable
data class Item(
    val id: String,
    val title: String,
    val body: String,
    val count: Long,
    val amount: Double,
    val done: Boolean,
    val note: String?,
    val updated_at: String,
)

/** A database with [ROWS] items. */
internal interface Side {
    val name: String

    /** What differs from the other sides. */
    val note: String? get() = null

    /** The first cell of a query's result as text, from the connection that writes. */
    suspend fun text(sql: String): String

    suspend fun pragma(name: String): String = text("PRAGMA $name")

    suspend fun objects(): List<Item>

    /** Updates one row in its own transaction, and returns after the commit. */
    suspend fun write(title: String, count: Long, key: String)

    /** Emits the count of one row now and after each write; null if the database has no watched queries. */
    fun watchCount(key: String): Flow<Long>? = null

    suspend fun close()
}

/** A local-only table of this package. */
internal class RejoinSide private constructor(val client: RejoinClient) : Side {
    override val name = "Rejoin"
    override val note = "local-only table"

    override suspend fun text(sql: String): String = client.query(sql)[0].string(0)

    /** The engine refuses PRAGMA; its tests check these values. */
    override suspend fun pragma(name: String): String =
        when (name) {
            "journal_mode" -> "wal"
            "synchronous" -> "1"
            else -> "16000"
        }

    override suspend fun objects(): List<Item> = client.query(ALL, map = ::item)

    override suspend fun write(title: String, count: Long, key: String) {
        client.execute(UPDATE, title, count, key)
    }

    override fun watchCount(key: String): Flow<Long> = client.watch(COUNT, key).map { it[0].long(0) }

    override suspend fun close() = client.shutdown()

    companion object {
        suspend fun open(folder: Path): RejoinSide {
            val client = RejoinClient.open(RejoinConfig(folder.resolve("rejoin.db").toString(), durability = Durability.NORMAL))
            client.schema.createTable("item", COLUMNS)
            client.batch((0 until ROWS).map { Statement(INSERT, *row(it)) })
            return RejoinSide(client)
        }
    }
}

/** One connection with prepared statements, called on the measuring thread. */
internal class JdbcSide(folder: Path) : Side {
    override val name = "sqlite-jdbc"

    private val connection = DriverManager.getConnection("jdbc:sqlite:${folder.resolve("jdbc.db")}")

    init {
        connection.createStatement().use { setUp ->
            for (pragma in PRAGMAS) setUp.execute("PRAGMA $pragma")
            setUp.execute("CREATE TABLE item ($COLUMNS)")
        }
        connection.autoCommit = false
        connection.prepareStatement(INSERT).use { insert ->
            for (number in 0 until ROWS) {
                row(number).forEachIndexed { column, value -> insert.setObject(column + 1, value) }
                insert.addBatch()
            }
            insert.executeBatch()
        }
        connection.commit()
        connection.autoCommit = true
    }

    private val select = connection.prepareStatement(ALL)
    private val update = connection.prepareStatement(UPDATE)

    override suspend fun text(sql: String): String =
        connection.createStatement().use { it.executeQuery(sql).use { rows -> rows.getString(1) } }

    override suspend fun objects(): List<Item> =
        select.executeQuery().use { rows ->
            val items = ArrayList<Item>()
            while (rows.next()) items.add(item(rows))
            items
        }

    override suspend fun write(title: String, count: Long, key: String) {
        update.setString(1, title)
        update.setLong(2, count)
        update.setString(3, key)
        check(update.executeUpdate() == 1)
    }

    override suspend fun close() = connection.close()
}

/** One connection of AndroidX's bundled driver with prepared statements, called on the measuring thread. */
internal class AndroidxSide(folder: Path) : Side {
    override val name = "androidx.sqlite bundled"

    private val connection = BundledSQLiteDriver().open(folder.resolve("androidx.db").toString())

    init {
        for (pragma in PRAGMAS) connection.execSQL("PRAGMA $pragma")
        connection.execSQL("CREATE TABLE item ($COLUMNS)")
        connection.execSQL("BEGIN")
        connection.prepare(INSERT).use { insert ->
            for (number in 0 until ROWS) {
                row(number).forEachIndexed { column, value -> insert.bind(column + 1, value) }
                insert.step()
                insert.reset()
            }
        }
        connection.execSQL("COMMIT")
    }

    private val select = connection.prepare(ALL)
    private val update = connection.prepare(UPDATE)

    override suspend fun text(sql: String): String =
        connection.prepare(sql).use {
            it.step()
            it.getText(0)
        }

    override suspend fun objects(): List<Item> {
        val items = ArrayList<Item>()
        while (select.step()) items.add(item(select))
        select.reset()
        return items
    }

    override suspend fun write(title: String, count: Long, key: String) {
        update.bindText(1, title)
        update.bindLong(2, count)
        update.bindText(3, key)
        update.step()
        update.reset()
    }

    override suspend fun close() {
        select.close()
        update.close()
        connection.close()
    }
}

private fun SQLiteStatement.bind(index: Int, value: Any?) =
    when (value) {
        null -> bindNull(index)
        is String -> bindText(index, value)
        is Int -> bindLong(index, value.toLong())
        is Long -> bindLong(index, value)
        is Double -> bindDouble(index, value)
        else -> error("no binding for ${value::class}")
    }

private fun item(row: Row) =
    Item(
        id = row.string(0),
        title = row.string(1),
        body = row.string(2),
        count = row.long(3),
        amount = row.double(4),
        done = row.boolean(5),
        note = row.stringOrNull(6),
        updated_at = row.string(7),
    )

private fun item(rows: ResultSet) =
    Item(
        id = rows.getString(1),
        title = rows.getString(2),
        body = rows.getString(3),
        count = rows.getLong(4),
        amount = rows.getDouble(5),
        done = rows.getBoolean(6),
        note = rows.getString(7),
        updated_at = rows.getString(8),
    )

private fun item(statement: SQLiteStatement) =
    Item(
        id = statement.getText(0),
        title = statement.getText(1),
        body = statement.getText(2),
        count = statement.getLong(3),
        amount = statement.getDouble(4),
        done = statement.getBoolean(5),
        note = if (statement.isNull(6)) null else statement.getText(6),
        updated_at = statement.getText(7),
    )

internal fun key(number: Int): String = "01900000-0000-7000-8000-%012x".format(number)

internal fun row(number: Int): Array<Any?> =
    arrayOf(
        key(number),
        "item number $number",
        "the body of item $number, which is a sentence of ordinary length",
        number.toLong(),
        number * 1.25,
        if (number % 2 == 0) 1 else 0,
        if (number % 3 == 0) null else "noted",
        "2026-11-20T08:00:00.000000Z",
    )
