/*
 * The listeners of queries, notified of every commit that changes a table of theirs.
 *
 * One source for all writers: the engine's report of each commit. SQLDelight's own notifications of tables are not passed
 * on, so a local write notifies a query once. No commit after `add` is missed. Listeners run on Dispatchers.Default, one
 * at a time.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.Query
import dev.rejoin.Change
import dev.rejoin.RejoinDatabase
import dev.rejoin.RejoinException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Runnable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlin.coroutines.CoroutineContext

internal class Listeners(private val database: RejoinDatabase) {
    private val dispatcher = StartInPlace(Dispatchers.Default.limitedParallelism(1, "rejoin-sqldelight-listeners"))
    private val scope = CoroutineScope(SupervisorJob() + dispatcher)
    private val byKey = HashMap<String, LinkedHashSet<Query.Listener>>()
    private var started = false

    /** The tables in the file, in lower case; null if they are not known. */
    @Volatile
    private var tables: Set<String>? = null

    fun add(keys: Array<out String>, listener: Query.Listener): Unit =
        synchronized(byKey) {
            for (key in keys) byKey.getOrPut(key.lowercase()) { LinkedHashSet() }.add(listener)
            if (!started) start()
        }

    fun remove(keys: Array<out String>, listener: Query.Listener): Unit =
        synchronized(byKey) {
            for (key in keys.map(String::lowercase)) {
                byKey[key]?.remove(listener)
                if (byKey[key].isNullOrEmpty()) byKey.remove(key)
            }
        }

    /** Notifies the listeners of those [keys] that are not tables. */
    fun notify(keys: Array<out String>) {
        val wanted = synchronized(byKey) { keys.map(String::lowercase).filter(byKey::containsKey) }
        if (wanted.isEmpty()) return
        val known = tables
        if (known != null) deliver(wanted - known) else scope.launch { ifOpen { deliver(wanted - readTables()) } }
    }

    fun close() {
        scope.cancel()
        synchronized(byKey) {
            started = true
            byKey.clear()
        }
    }

    private fun start() {
        started = true
        // The subscription exists when this returns: a commit after that is reported.
        dispatcher.inPlace { scope.launch { ifOpen { database.changes().collect(::onChange) } } }
    }

    private fun onChange(change: Change) {
        val names = change.tables.map { it.name.lowercase() }
        if ("sqlite_schema" in names) tables = null
        deliver(names)
    }

    private fun deliver(keys: Collection<String>) {
        val called = synchronized(byKey) { keys.flatMapTo(LinkedHashSet()) { byKey[it].orEmpty() } }
        for (listener in called) {
            try {
                listener.queryResultsChanged()
            } catch (error: Exception) {
                // The others are still called; the app's handler of uncaught exceptions receives this one.
                scope.launch { throw error }
            }
        }
    }

    private suspend fun readTables(): Set<String> =
        database.query("SELECT lower(name) FROM sqlite_schema WHERE type = 'table'") { it.string(0) }.toSet().also { tables = it }

    private suspend fun ifOpen(block: suspend () -> Unit) {
        try {
            block()
        } catch (_: RejoinException.Closed) {
            // There are no further commits to report.
        }
    }
}

/** Runs the start of a coroutine on the caller's thread up to its first suspension, and the rest on [rest]. */
private class StartInPlace(private val rest: CoroutineDispatcher) : CoroutineDispatcher() {
    private val starting = ThreadLocal<Boolean>()

    fun inPlace(start: () -> Unit) {
        starting.set(true)
        try {
            start()
        } finally {
            starting.remove()
        }
    }

    override fun dispatch(context: CoroutineContext, block: Runnable) {
        if (starting.get() == true) block.run() else rest.dispatch(context, block)
    }
}
