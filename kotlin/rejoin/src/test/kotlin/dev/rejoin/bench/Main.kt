/*
 * Benchmarks of the Kotlin package against other databases: one line of JSON per figure (bench/README.md explains them).
 *
 * Wall-clock times; all sides run in one process, in random order within each round, and the median of the rounds is
 * reported. Warm-up rounds let the JVM compile the measured code. REJOIN_BENCH_ROUNDS sets another number of rounds.
 */
package dev.rejoin.bench

import dev.rejoin.decode
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.ReceiveChannel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.produceIn
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import java.nio.file.Files
import kotlin.random.Random
import kotlin.time.Duration.Companion.seconds

private const val WRITES = 1_000
private const val WATCHED = 1
private val ROUNDS = System.getenv("REJOIN_BENCH_ROUNDS")?.toInt() ?: 25
private val COMMITS = ROUNDS * 40

fun main() {
    val folder = Files.createTempDirectory("rejoin-bench")
    try {
        // As an app has it: a coroutine on a thread that is not the main one.
        runBlocking(Dispatchers.Default) {
            val ours = RejoinSide.open(folder)
            val peers = listOf(JdbcSide(folder), AndroidxSide(folder), PowerSyncSide.open(folder))
            measures(ours, peers)
            for (side in listOf(ours) + peers) side.close()
        }
    } finally {
        folder.toFile().deleteRecursively()
    }
}

private suspend fun measures(ours: RejoinSide, peers: List<Side>) {
    for (side in listOf(ours) + peers) println("${side.name}: ${settings(side)}")
    check(ours.client.query(ALL).decode<Item>() == ours.objects()) { "kotlinx.serialization decodes other values" }
    checkSame(ours, peers)
    val jdbc = peers.take(1)
    measure("10,000 x 8 rows to bytes", { ours.client.query(ALL).size == ROWS })
    measure("10,000 x 8 rows into objects", { ours.objects().size == ROWS }, peers) { it.objects().size == ROWS }
    measure("10,000 x 8 rows, kotlinx.serialization", { ours.client.query(ALL).decode<Item>().size == ROWS }, jdbc) {
        it.objects().size == ROWS
    }
    measure("1,000 writes", { writes(ours) }, peers, warmUp = minOf(3, ROUNDS)) { writes(it) }
    checkSame(ours, peers)
    emissions(ours, peers)
}

private suspend fun settings(side: Side): String {
    val synchronous = listOf("off", "normal", "full", "extra")[side.pragma("synchronous").toInt()]
    val values = "journal_mode ${side.pragma("journal_mode")}, synchronous $synchronous, wal_autocheckpoint ${side.pragma("wal_autocheckpoint")}"
    return "SQLite ${side.text("SELECT sqlite_version()")}, $values${side.note?.let { "; $it" } ?: ""}"
}

private suspend fun checkSame(ours: Side, peers: List<Side>) {
    val expected = ours.objects()
    for (peer in peers) check(peer.objects() == expected) { "${peer.name} has other rows" }
}

private suspend fun writes(side: Side): Boolean {
    for (number in 0 until WRITES) side.write("title at $number", number.toLong(), key(number))
    return true
}

/** Measures a workload on all sides; each returns whether it did its work. */
private suspend fun measure(
    what: String,
    ours: suspend () -> Boolean,
    peers: List<Side> = emptyList(),
    warmUp: Int = ROUNDS,
    theirs: suspend (Side) -> Boolean = { false },
) {
    val works = listOf(ours) + peers.map { peer -> suspend { theirs(peer) } }
    val times = works.map { mutableListOf<Double>() }
    for (round in 0 until warmUp + ROUNDS) {
        for (side in works.indices.shuffled(Random(round))) {
            val begin = System.nanoTime()
            check(works[side]()) { "$what: the work was not done" }
            if (round >= warmUp) times[side].add((System.nanoTime() - begin) / 1e6)
        }
    }
    if (peers.isEmpty()) report(what, times[0].quantile(50))
    for ((peer, its) in peers.zip(times.drop(1))) {
        report(what, times[0].quantile(50), peer.name, its.quantile(50), times[0].zip(its) { a, b -> a / b }.quantile(50))
    }
}

/** Measures from a write to the result that shows it, for consecutive commits; the sides with a watch alternate. */
private suspend fun emissions(ours: Side, peers: List<Side>) =
    coroutineScope {
        val watched = (listOf(ours) + peers).mapNotNull { side -> side.watchCount(key(WATCHED))?.let { side to it } }
        val shown =
            watched.map { (_, counts) -> counts.map { it to System.nanoTime() }.buffer(Channel.UNLIMITED).produceIn(this) }
        val delays = watched.map { mutableListOf<Double>() }
        withTimeout(300.seconds) {
            for (initial in shown) initial.receive()
            for (number in 0 until 2 * COMMITS) {
                for (side in watched.indices.shuffled(Random(number))) {
                    val delay = delay(watched[side].first, shown[side])
                    // The first half is warm-up.
                    if (number >= COMMITS) delays[side].add(delay)
                }
            }
        }
        for (each in shown) each.cancel()
        for (percent in listOf(50, 99)) {
            val what = "commit to emission, p$percent"
            val mine = delays[0].quantile(percent)
            if (watched.size == 1) report(what, mine)
            for ((peer, its) in watched.zip(delays).drop(1)) {
                report(what, mine, peer.first.name, its.quantile(percent), mine / its.quantile(percent))
            }
        }
    }

private suspend fun delay(side: Side, shown: ReceiveChannel<Pair<Long, Long>>): Double {
    val begin = System.nanoTime()
    side.write("watched", begin, key(WATCHED))
    val (seen, at) = shown.receive()
    check(seen == begin) { "${side.name}: the watch emitted another result" }
    return (at - begin) / 1e6
}

private fun report(what: String, ours: Double, peer: String? = null, peerMillis: Double? = null, ratio: Double? = null) =
    println(
        buildJsonObject {
            put("what", what)
            put("ours_ms", ours)
            if (peer != null) {
                put("peer", peer)
                put("peer_ms", peerMillis)
                put("ratio", ratio)
            }
        },
    )

private fun List<Double>.quantile(percent: Int): Double = sorted()[size * percent / 100]
