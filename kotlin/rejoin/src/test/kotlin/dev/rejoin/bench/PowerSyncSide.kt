/*
 * PowerSync's SDK for Kotlin, without a server.
 */
package dev.rejoin.bench

import com.powersync.DatabaseDriverFactory
import com.powersync.PowerSyncDatabase
import com.powersync.db.SqlCursor
import com.powersync.db.schema.Column
import com.powersync.db.schema.Schema
import com.powersync.db.schema.Table
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.map
import java.io.OutputStream
import java.io.PrintStream
import java.nio.file.Path

/**
 * A local-only table: a view over JSON, as all tables that PowerSync declares. Like this package's side, it does not
 * record changes for an upload.
 */
internal class PowerSyncSide private constructor(private val database: PowerSyncDatabase) : Side {
    override val name = "PowerSync Kotlin"
    override val note = "local-only table (view over JSON), watch without throttle (default: 30 ms)"

    override suspend fun text(sql: String): String = database.writeLock { it.get(sql) { row -> row.getString(0)!! } }

    override suspend fun objects(): List<Item> = database.getAll(ALL, mapper = ::item)

    override suspend fun write(title: String, count: Long, key: String) {
        database.execute(UPDATE, listOf(title, count, key))
    }

    override fun watchCount(key: String): Flow<Long> =
        database.watch(COUNT, listOf(key), throttleMs = 0) { it.getLong(0)!! }.map { it.single() }

    override suspend fun close() = database.close()

    companion object {
        suspend fun open(folder: Path): PowerSyncSide =
            withoutOutput {
                val columns =
                    listOf(
                        Column.text("title"),
                        Column.text("body"),
                        Column.integer("count"),
                        Column.real("amount"),
                        Column.integer("done"),
                        Column.text("note"),
                        Column.text("updated_at"),
                    )
                val schema = Schema(Table.localOnly("item", columns))
                val database = PowerSyncDatabase(DatabaseDriverFactory(), schema, "powersync.db", dbDirectory = folder.toString())
                // The SDK opens with WAL and synchronous = NORMAL itself, but with SQLite's default for wal_autocheckpoint.
                database.writeLock { writer -> for (pragma in PRAGMAS) writer.getOptional("PRAGMA $pragma") {} }
                database.writeTransaction { writer -> for (number in 0 until ROWS) writer.execute(INSERT, row(number).asList()) }
                PowerSyncSide(database)
            }
    }
}

/** Discards what the SDK prints while it loads its extension: the output of this program is one figure per line. */
private inline fun <T> withoutOutput(work: () -> T): T {
    val output = System.out
    System.setOut(PrintStream(OutputStream.nullOutputStream()))
    return try {
        work()
    } finally {
        System.setOut(output)
    }
}

private fun item(row: SqlCursor) =
    Item(
        id = row.getString(0)!!,
        title = row.getString(1)!!,
        body = row.getString(2)!!,
        count = row.getLong(3)!!,
        amount = row.getDouble(4)!!,
        done = row.getBoolean(5)!!,
        note = row.getString(6),
        updated_at = row.getString(7)!!,
    )
