/*
 * Benchmarks of the Kotlin package against sqlite-jdbc: one line of JSON per figure (bench/README.md explains them).
 *
 * Wall-clock times; both sides of a ratio alternate in one process, and the median of the rounds is reported. Warm-up
 * rounds let the JVM compile the measured code.
 */
package dev.rejoin.bench

import dev.rejoin.RejoinClient
import dev.rejoin.Row
import dev.rejoin.Statement
import dev.rejoin.decode
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import java.nio.file.Files
import java.nio.file.Path
import java.sql.Connection
import java.sql.DriverManager
import java.sql.ResultSet
import kotlin.time.Duration.Companion.seconds

private const val ROWS = 10_000
private const val WRITES = 1_000
private const val COMMITS = 1_000
private const val ROUNDS = 25
private const val WARM_UP = 25
private const val COLUMNS = "id TEXT PRIMARY KEY, title TEXT, body TEXT, count INTEGER, amount REAL, done INTEGER, note TEXT, updated_at TEXT"
private const val INSERT = "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
private const val UPDATE = "UPDATE item SET title = ?, count = ? WHERE id = ?"
private const val ALL = "SELECT * FROM item ORDER BY id"

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

fun main() {
    val folder = Files.createTempDirectory("rejoin-bench")
    try {
        runBlocking { Both.open(folder).use { both -> measures(both) } }
    } finally {
        folder.toFile().deleteRecursively()
    }
}

private suspend fun measures(both: Both) {
    check(both.objects() == both.objectsOfPeer() && both.decoded() == both.objects()) { "the two sides differ" }
    measure("10,000 x 8 rows to bytes", ours = { both.client.query(ALL).size == ROWS })
    measure("10,000 x 8 rows into objects", ours = { both.objects().size == ROWS }, peer = { both.objectsOfPeer().size == ROWS })
    measure("10,000 x 8 rows, kotlinx.serialization", ours = { both.decoded().size == ROWS }, peer = { both.objectsOfPeer().size == ROWS })
    measure("1,000 writes", ours = { both.writes() == WRITES }, peer = { both.writesToPeer() == WRITES }, warmUp = 3)
    both.delays() // Warm-up.
    val delays = both.delays().sorted()
    report("commit to emission, p50", delays[delays.size / 2])
    report("commit to emission, p99", delays[delays.size * 99 / 100])
}

/** Alternates both sides; each returns whether it did its work. */
private suspend fun measure(what: String, ours: suspend () -> Boolean, peer: (suspend () -> Boolean)? = null, warmUp: Int = WARM_UP) {
    val (mine, theirs) = mutableListOf<Double>() to mutableListOf<Double>()
    for (round in 0 until warmUp + ROUNDS) {
        val sides = listOfNotNull(ours to mine, peer?.let { it to theirs })
        for ((work, times) in if (round % 2 == 0) sides else sides.reversed()) {
            val begin = System.nanoTime()
            check(work()) { "$what: the work was not done" }
            if (round >= warmUp) times.add((System.nanoTime() - begin) / 1e6)
        }
    }
    if (peer == null) return report(what, mine.median())
    report(what, mine.median(), theirs.median(), mine.zip(theirs) { a, b -> a / b }.median())
}

private fun report(what: String, ours: Double, peer: Double? = null, ratio: Double? = null) =
    println(
        buildJsonObject {
            put("what", what)
            put("ours_ms", ours)
            if (peer != null) {
                put("peer", "sqlite-jdbc")
                put("peer_ms", peer)
                put("ratio", ratio)
            }
        },
    )

private fun List<Double>.median(): Double = sorted()[size / 2]

/** The same rows in a local-only table and in plain SQLite. */
private class Both(val client: RejoinClient, private val peer: Connection) : AutoCloseable {
    suspend fun objects(): List<Item> = client.query(ALL, map = ::item)

    suspend fun decoded(): List<Item> = client.query(ALL).decode<Item>()

    fun objectsOfPeer(): List<Item> =
        select.executeQuery().use { rows ->
            val items = ArrayList<Item>()
            while (rows.next()) items.add(item(rows))
            items
        }

    suspend fun writes(): Int = (0 until WRITES).sumOf { client.execute(UPDATE, "title at $it", it, key(it)).toInt() }

    fun writesToPeer(): Int =
        (0 until WRITES).sumOf {
            update.setString(1, "title at $it")
            update.setLong(2, it.toLong())
            update.setString(3, key(it))
            update.executeUpdate()
        }

    /** Milliseconds from a write to the result that shows it, for consecutive commits. */
    suspend fun delays(): List<Double> {
        val shown = Channel<Pair<Long, Long>>(Channel.UNLIMITED)
        val watch =
            CoroutineScope(Dispatchers.Default).launch {
                client.watch("SELECT count FROM item WHERE id = ?", key(1)).collect { shown.send(it[0].long(0) to System.nanoTime()) }
            }
        return withTimeout(120.seconds) {
            shown.receive()
            val delays =
                List(COMMITS) { number ->
                    val count = System.nanoTime()
                    val begin = System.nanoTime()
                    client.execute("UPDATE item SET count = ? WHERE id = ?", count, key(1))
                    val (seen, at) = shown.receive()
                    check(seen == count) { "commit $number: unexpected result" }
                    (at - begin) / 1e6
                }
            watch.cancel()
            delays
        }
    }

    private val select = peer.prepareStatement(ALL)
    private val update = peer.prepareStatement(UPDATE)

    override fun close() {
        runBlocking { client.shutdown() }
        peer.close()
    }

    companion object {
        suspend fun open(folder: Path): Both {
            val client = RejoinClient.open(folder.resolve("ours.db").toString())
            client.schema.createTable("item", COLUMNS)
            client.batch((0 until ROWS).map { Statement(INSERT, *row(it)) })
            val peer = DriverManager.getConnection("jdbc:sqlite:${folder.resolve("peer.db")}")
            peer.createStatement().use { setUp ->
                // As the engine opens its own files.
                for (pragma in listOf("journal_mode = wal", "synchronous = normal", "foreign_keys = on", "wal_autocheckpoint = 16000")) {
                    setUp.execute("PRAGMA $pragma")
                }
                setUp.execute("CREATE TABLE item ($COLUMNS)")
            }
            peer.autoCommit = false
            peer.prepareStatement(INSERT).use { insert ->
                for (number in 0 until ROWS) {
                    row(number).forEachIndexed { column, value -> insert.setObject(column + 1, value) }
                    insert.addBatch()
                }
                insert.executeBatch()
            }
            peer.commit()
            peer.autoCommit = true
            return Both(client, peer)
        }
    }
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

private fun key(number: Int): String = "01900000-0000-7000-8000-%012x".format(number)

private fun row(number: Int): Array<Any?> =
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
