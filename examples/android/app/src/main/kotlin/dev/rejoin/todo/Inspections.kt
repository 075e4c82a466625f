/*
 * What the screens read and write: places, visits, the queue, the session. No user interface, so the tests run it.
 *
 * Each write is one mutation and works offline. What the server rejects is in the queue, parked.
 */
package dev.rejoin.todo

import dev.rejoin.*
import dev.rejoin.android.AndroidDatabase
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.*
import kotlinx.coroutines.launch

/** Places whose name contains the parameter: first those with unsent or parked edits, then by name. */
const val PLACES: String =
    """SELECT id, name, ifnull(country, '') AS country, status IS 'inspected' AS done, rejoin_row_state('places', id) AS state
       FROM places WHERE instr(lower(name), lower(?)) > 0 ORDER BY state = 'synced', name LIMIT 200"""

/** A row of [PLACES]. [state] is `synced`, `pending`, `sent`, `uncertain` or `parked`. */
data class Place(val id: String, val name: String, val country: String, val done: Boolean, val state: String) {
    constructor(row: Row) : this(row.string("id"), row.string("name"), row.string("country"), row.boolean("done"), row.string("state"))
}

/** The queue: mutations that the server has not accepted, and the verdicts that the user has not read. */
data class QueueView(val waiting: List<PendingMutation>, val parked: List<PendingMutation>, val verdicts: List<VerdictEntry>)

class Inspections(val database: AndroidDatabase, private val tokens: TokenStore) {
    private val signedIn = MutableStateFlow<Boolean?>(null)
    private val offline = MutableStateFlow(false)

    /** Whether a token is stored; null until [restore] has read it. */
    val isSignedIn: StateFlow<Boolean?> = signedIn.asStateFlow()

    /** Whether [setOffline] has simulated the loss of the network. */
    val isOffline: StateFlow<Boolean> = offline.asStateFlow()

    suspend fun restore() {
        signedIn.value = tokens.read() != null
    }

    suspend fun signIn(token: String) {
        tokens.save(token.trim())
        database.withClient { client ->
            client.start()
            client.sync.credentialsChanged()
        }
        signedIn.value = true
    }

    /** Signs out and empties the file, unless mutations would be lost. Returns their number; 0 if the user is signed out. */
    suspend fun signOut(discardUnsent: Boolean): Int =
        database.withClient { client ->
            client.stop()
            val unsent = client.queue.all().map { it.id }
            if (unsent.isNotEmpty() && !discardUnsent) {
                client.start()
                return@withClient unsent.size
            }
            client.storage.reset(Keep.LOCAL, giveUp = unsent)
            tokens.clear()
            signedIn.value = false
            0
        }

    suspend fun add(name: String) {
        database.execute("INSERT INTO places (id, name, status) VALUES (rejoin_new_id(), ?, 'open')", name)
    }

    suspend fun setDone(place: String, done: Boolean) {
        database.execute("UPDATE places SET status = ? WHERE id = ?", if (done) "inspected" else "open", place)
    }

    /** Deletes a place with its visits and their notes: one mutation. */
    suspend fun delete(place: String) {
        database.batch(
            listOf(
                Statement("DELETE FROM notes WHERE visit_id IN (SELECT id FROM visits WHERE place_id = ?)", place),
                Statement("DELETE FROM visits WHERE place_id = ?", place),
                Statement("DELETE FROM places WHERE id = ?", place),
            ),
        )
    }

    /** The server accepts scores from 0 to 100 only; this device does not have that rule. */
    suspend fun addVisit(place: String, score: Long) {
        val sql = "INSERT INTO visits (id, place_id, visited_at, score) VALUES (rejoin_new_id(), ?, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), ?)"
        database.execute(sql, place, score)
    }

    /** The queue now, and again after each change of it. It ends if the file cannot be read, which the status shows. */
    fun queue(): Flow<QueueView> =
        channelFlow {
            // Before the first read, so that no change between the two is missed.
            launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
                database.changes().filter { it.queue }.collect { send(Unit) }
            }
            send(Unit)
        }.conflate().map {
            database.withClient { client ->
                val (parked, waiting) = client.queue.all().partition { it.state == MutationState.PARKED }
                QueueView(waiting, parked, client.queue.verdicts(VERDICTS).entries)
            }
        }.catch { error -> if (error !is RejoinException) throw error }

    /** Marks these verdicts as read. */
    suspend fun acknowledge(verdicts: List<VerdictEntry>) {
        verdicts.lastOrNull()?.let { last -> database.withClient { it.queue.acknowledgeVerdicts(last.number) } }
    }

    /** For a demonstration: the engine gets the report that there is no network. The next change of the real one overrides it. */
    suspend fun setOffline(isOffline: Boolean) {
        database.withClient { it.sync.setNetwork(online = !isOffline) }
        offline.value = isOffline
    }

    private companion object {
        const val VERDICTS = 20
    }
}
