/*
 * What commits changed, as a flow.
 *
 * A collector that is slower than the writers gets one change that stands for several, so no touched table is missed; behind
 * many it hears of tables and no more of single rows, so nothing piles up. The engine's thread only puts a change down and goes on.
 */
package dev.rejoin

import dev.rejoin.ffi.ChangeObserver
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.SendChannel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.launch
import dev.rejoin.ffi.Change as FfiChange
import dev.rejoin.ffi.ChangeOrigin as FfiChangeOrigin

/** Who wrote. */
public enum class ChangeOrigin {
    /** The app, on this device. */
    LOCAL,

    /** The server's answer. */
    REMOTE,
}

/**
 * A table that was touched.
 *
 * @property name its name.
 * @property keys the keys of the rows that were touched ([Long] or [String], mostly); null where only the table is known, as for
 *   the app's own tables, or after some 250 commits that nobody collected.
 */
public data class ChangedTable(val name: String, val keys: List<Any?>?)

/**
 * The tables that one commit touched, or several of one origin that came while the collector was busy.
 *
 * @property origin who wrote.
 * @property tables what was touched. `sqlite_schema` is among them when the app changed the schema.
 * @property queue whether the queue, or the sync state of any row, changed.
 */
public data class Change(val origin: ChangeOrigin, val tables: List<ChangedTable>, val queue: Boolean)

/**
 * What commits change, from the moment of collecting on: those that touch one of [tables], or any if none is named.
 *
 * Cold. A slow collector gets one change that stands for several, and misses none. The flow completes when the client is shut
 * down.
 *
 * ```kotlin
 * client.changes("task").collect { change -> log("${change.origin} touched ${change.tables}") }
 * ```
 */
public fun RejoinClient.changes(vararg tables: String): Flow<Change> =
    channelFlow {
        val news = Channel<Unit>(Channel.CONFLATED)
        val mailbox = ChangeMailbox(news)
        val subscription = translated { ffi.onChange(tables.asList(), mailbox) }
        try {
            // Nobody tells an observer that there will be no more calls.
            launch { awaitEnd() }.invokeOnCompletion { news.close() }
            for (signal in news) mailbox.take().forEach { send(it) }
        } finally {
            subscription.cancel()
            subscription.destroy()
        }
    }.buffer(Channel.RENDEZVOUS)

/** What was not collected yet. The engine's thread only appends; whoever collects makes one change for each origin of it. */
internal class ChangeMailbox(private val news: SendChannel<Unit>) : ChangeObserver {
    private var waiting = ArrayList<Change>()

    override fun onChange(change: FfiChange) {
        val made = change.toPublic()
        synchronized(this) {
            waiting.add(made)
            if (waiting.size >= KEPT) waiting = ArrayList(merged(waiting.map(Change::withoutKeys)))
        }
        news.trySend(Unit)
    }

    fun take(): List<Change> = merged(synchronized(this) { waiting.also { waiting = ArrayList() } })

    companion object {
        /** So many changes are kept one by one for a collector that is busy, as in the engine; beyond, keys are forgotten. */
        const val KEPT: Int = 256
    }
}

/** One change for each origin, in the order in which each was first heard of. */
internal fun merged(changes: List<Change>): List<Change> {
    val origins = LinkedHashMap<ChangeOrigin, LinkedHashMap<String, LinkedHashSet<Any?>?>>()
    for (change in changes) {
        val tables = origins.getOrPut(change.origin) { LinkedHashMap() }
        for (table in change.tables) {
            val before = if (table.name in tables) tables[table.name] else LinkedHashSet()
            // Of whole tables and single rows the whole table is the truth.
            tables[table.name] = table.keys?.let { keys -> before?.apply { addAll(keys) } }
        }
    }
    return origins.map { (origin, tables) ->
        val queue = changes.any { it.origin == origin && it.queue }
        Change(origin, tables.map { (name, keys) -> ChangedTable(name, keys?.toList()) }, queue)
    }
}

private fun Change.withoutKeys(): Change = copy(tables = tables.map { it.copy(keys = null) })

private fun FfiChange.toPublic(): Change =
    Change(
        origin =
            when (origin) {
                FfiChangeOrigin.LOCAL -> ChangeOrigin.LOCAL
                FfiChangeOrigin.REMOTE -> ChangeOrigin.REMOTE
            },
        tables = tables.map { table -> ChangedTable(table.name, table.keys?.map { it.toKotlin() }) },
        queue = queue,
    )
