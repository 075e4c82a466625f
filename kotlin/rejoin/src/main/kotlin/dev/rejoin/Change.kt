/*
 * The tables that commits changed, as a flow.
 *
 * If a collector is slower than the writers, changes are merged, so that no table is missed. Beyond a limit, keys are
 * dropped and only tables are reported, so memory stays bounded. The engine's thread only appends and never waits.
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
import dev.rejoin.ffi.RejoinClient as FfiClient

/** The origin of a change. */
public enum class ChangeOrigin {
    /** The app, on this device. */
    LOCAL,

    /** The server. */
    REMOTE,
}

/**
 * A table that was changed.
 *
 * @property name the table's name.
 * @property keys the keys of the changed rows (mostly [Long] or [String]); null if only the table is known, as for
 *   local-only tables or after about 250 uncollected commits.
 */
public data class ChangedTable(val name: String, val keys: List<Any?>?)

/**
 * The tables changed by one commit, or by several commits of one origin that happened while the collector was busy.
 *
 * @property origin the origin of the change.
 * @property tables the changed tables, including `sqlite_schema` if the app changed the schema.
 * @property queue whether the queue or the sync state of a row changed.
 */
public data class Change(val origin: ChangeOrigin, val tables: List<ChangedTable>, val queue: Boolean)

/** The flow of [RejoinDatabase.changes]. */
internal fun FfiClient.changed(tables: List<String>): Flow<Change> =
    channelFlow {
        val signals = Channel<Unit>(Channel.CONFLATED)
        val mailbox = ChangeMailbox(signals)
        val subscription = translated { onChange(tables, mailbox) }
        try {
            // The engine does not notify observers of its end.
            launch { awaitEnd() }.invokeOnCompletion { signals.close() }
            for (signal in signals) mailbox.take().forEach { send(it) }
        } finally {
            subscription.cancel()
            subscription.destroy()
        }
    }.buffer(Channel.RENDEZVOUS)

/** Uncollected changes. The engine's thread only appends; the collector merges them to one change per origin. */
internal class ChangeMailbox(private val signals: SendChannel<Unit>) : ChangeObserver {
    private var waiting = ArrayList<Change>()

    override fun onChange(change: FfiChange) {
        val made = change.toPublic()
        synchronized(this) {
            waiting.add(made)
            if (waiting.size >= KEPT) waiting = ArrayList(merged(waiting.map(Change::withoutKeys)))
        }
        signals.trySend(Unit)
    }

    fun take(): List<Change> = merged(synchronized(this) { waiting.also { waiting = ArrayList() } })

    companion object {
        /** Number of changes kept separately for a busy collector, as in the engine; beyond it, keys are dropped. */
        const val KEPT: Int = 256
    }
}

/** Merges changes to one per origin, in the order in which the origins first appear. */
internal fun merged(changes: List<Change>): List<Change> {
    val origins = LinkedHashMap<ChangeOrigin, LinkedHashMap<String, LinkedHashSet<Any?>?>>()
    for (change in changes) {
        val tables = origins.getOrPut(change.origin) { LinkedHashMap() }
        for (table in change.tables) {
            val before = if (table.name in tables) tables[table.name] else LinkedHashSet()
            // Whole table and single rows: the whole table wins.
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
