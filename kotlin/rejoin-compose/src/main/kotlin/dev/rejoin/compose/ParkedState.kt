/*
 * A parked mutation on the screen: reads it, follows its changes, and carries out the decision.
 *
 * One decision at a time: while a call runs, and after one has succeeded, further taps do nothing. A failed call is shown
 * and changes nothing; the engine makes each of them atomic. A decision that has begun completes even if the sheet closes.
 */
package dev.rejoin.compose

import androidx.compose.runtime.Stable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import dev.rejoin.PendingRow
import dev.rejoin.RejoinException
import dev.rejoin.SyncedDatabase
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** The user's decision on a parked mutation. */
internal sealed interface Decision {
    /** Sends it again, with the mutations that were parked because of it. */
    data object Keep : Decision

    /** Removes it, with the mutations that depend on it. */
    data object Discard : Decision

    /** Replaces it by one with these values, and sends the mutations that were parked because of it again. */
    data class Edit(val fields: Map<FieldKey, String?>) : Decision
}

/** The state of the sheet for the mutation [id]. */
@Stable
internal class ParkedState(private val database: SyncedDatabase, private val id: String, private val scope: CoroutineScope) {
    /** The mutation; null until it is read. */
    var view: ParkedView? by mutableStateOf(null)
        private set

    /** Whether a decision is carried out. */
    var isBusy: Boolean by mutableStateOf(false)
        private set

    /** What failed last. */
    var error: RejoinException? by mutableStateOf(null)
        private set

    /** Whether the mutation is no longer parked, by a decision here or elsewhere. */
    var isDecided: Boolean by mutableStateOf(false)
        private set

    private val tables = mutableMapOf<String, TableInfo>()

    /** Reads the mutation now and after each change that concerns it, until it is decided. */
    suspend fun follow() {
        try {
            database.nowAndAfter { change -> change.queue || change.tables.any { table -> view?.rows.orEmpty().any { it.table == table.name } } }
                .collect { read() }
        } catch (failed: RejoinException) {
            error = failed
        }
    }

    /** Carries out a decision, unless one runs or has succeeded. */
    fun decide(decision: Decision) {
        val view = view
        if (isBusy || isDecided || view == null) return
        isBusy = true
        error = null
        scope.launch {
            try {
                withContext(NonCancellable) { apply(decision, view) }
                isDecided = true
            } catch (failed: RejoinException) {
                error = failed
                // It may have been decided elsewhere meanwhile.
                runCatching { read() }
            } finally {
                isBusy = false
            }
        }
    }

    private suspend fun apply(decision: Decision, view: ParkedView) {
        database.withClient { client ->
            when (decision) {
                is Decision.Keep -> client.queue.retryChain(view.id)
                is Decision.Discard -> client.queue.discardChain(view.id)
                is Decision.Edit -> {
                    val statements = editStatements(view, decision.fields)
                    // Without a correction it is sent again as it is.
                    val sent = if (statements.isEmpty()) view.id else client.queue.edit(view.id, statements)
                    sent?.let { client.queue.retryChain(it) }
                }
            }
        }
    }

    private suspend fun read() {
        if (isDecided) return
        val pending = database.withClient { it.queue.all() }
        val mutation = parkedRoot(id, pending)
        if (mutation == null) {
            isDecided = true
            return
        }
        val shown = mutation.rows.take(SHOWN_ROWS)
        for (table in shown.map { it.table }.distinct()) if (table !in tables) tables[table] = tableInfo(table)
        val current = shown.mapNotNull { row -> currentRow(row)?.let { row to it } }.toMap()
        view = parkedView(mutation, pending, tables, current)
    }

    private suspend fun tableInfo(table: String): TableInfo {
        val columns = database.query("SELECT name, type, pk FROM pragma_table_info(?)", table) { Triple(it.string(0), it.string(1), it.long(2)) }
        return TableInfo(columns.singleOrNull { it.third > 0 }?.first, columns.associate { it.first to it.second })
    }

    private suspend fun currentRow(row: PendingRow): Map<String, Any?>? {
        val key = tables[row.table]?.key ?: return null
        return database.query("SELECT * FROM ${quoted(row.table)} WHERE ${quoted(key)} = ?", row.key) { it.toMap() }.singleOrNull()
    }
}
