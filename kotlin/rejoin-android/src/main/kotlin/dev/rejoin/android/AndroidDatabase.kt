/*
 * A database that opens itself on the first call, and is open while a call needs it. RejoinDatabase.kt documents the
 * everyday calls; RejoinLifecycle.kt closes the file in the background.
 */
package dev.rejoin.android

import android.content.Context
import dev.rejoin.Change
import dev.rejoin.FirstSync
import dev.rejoin.Performed
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinDatabase
import dev.rejoin.RejoinException
import dev.rejoin.RowBuffer
import dev.rejoin.Snapshot
import dev.rejoin.Statement
import dev.rejoin.SyncState
import dev.rejoin.SyncStatus
import dev.rejoin.SyncedDatabase
import dev.rejoin.Transaction
import dev.rejoin.WatchUpdate
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.serialization.SerializationStrategy
import java.io.File

/**
 * A database of an Android app. From [android].
 *
 * No call blocks: a call waits for the file to be open, and opens it again if the app is in the background. A call from
 * `runBlocking` on the main thread throws [RejoinException.InvalidInput], because it would freeze the app.
 */
public class AndroidDatabase internal constructor(
    private val context: Context,
    private val file: File,
    private val configure: AndroidOptions.() -> Unit,
    private val forget: (AndroidDatabase) -> Unit,
) : SyncedDatabase,
    AutoCloseable {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val statuses = MutableStateFlow(SyncStatus(SyncState.Idle, FirstSync.ABSENT))
    private val opening = Mutex()

    @Volatile
    private var opened: OpenDatabase? = null

    @Volatile
    private var isClosed = false

    init {
        // A failure is thrown by the first call, which opens again.
        scope.launch { runCatching { open() } }
    }

    override val status: StateFlow<SyncStatus> = statuses.asStateFlow()

    /** As [SyncedDatabase.withClient]; the file stays open until [block] returns, also in the background. */
    override suspend fun <T> withClient(block: suspend (RejoinClient) -> T): T {
        refuseBlockedMainThread()
        val open = open()
        val lifecycle = open.lifecycle ?: return block(open.client)
        return lifecycle.hold { block(open.client) }
    }

    override suspend fun query(sql: String, vararg params: Any?): RowBuffer = withClient { it.query(sql, *params) }

    override suspend fun queryMany(vararg statements: Statement): List<RowBuffer> = withClient { it.queryMany(*statements) }

    override suspend fun <T> read(body: suspend (Snapshot) -> T): T = withClient { it.read(body) }

    override suspend fun execute(sql: String, vararg params: Any?): Long = withClient { it.execute(sql, *params) }

    override suspend fun executeReturning(sql: String, vararg params: Any?): RowBuffer = withClient { it.executeReturning(sql, *params) }

    override suspend fun executeScript(sql: String): Unit = withClient { it.executeScript(sql) }

    override suspend fun batch(statements: List<Statement>): List<Long> = withClient { it.batch(statements) }

    override suspend fun <T> transaction(body: suspend (Transaction) -> T): T = withClient { it.transaction(body) }

    override suspend fun perform(name: String, arguments: Map<String, Any?>): Performed = withClient { it.perform(name, arguments) }

    override suspend fun <A> perform(name: String, serializer: SerializationStrategy<A>, arguments: A): Performed =
        withClient { it.perform(name, serializer, arguments) }

    override fun watch(sql: String, vararg params: Any?): Flow<RowBuffer> = following { it.watch(sql, *params) }

    override fun watchDifferences(sql: String, vararg params: Any?, key: List<String>): Flow<WatchUpdate> =
        following { it.watchDifferences(sql, *params, key = key) }

    override fun changes(vararg tables: String): Flow<Change> = following { it.changes(*tables) }

    /** Closes the database and waits; pending work stays in the file. Later calls throw [RejoinException.Closed]. */
    public suspend fun shutdown() {
        val open =
            opening.withLock {
                isClosed = true
                opened
            }
        forget(this)
        open?.end()
        scope.cancel()
    }

    /** Starts [shutdown] without waiting for it. */
    override fun close() {
        CoroutineScope(Dispatchers.Default).launch { runCatching { shutdown() } }
    }

    /** A flow does not keep the file open: in the background it rests, and reports what it missed. */
    private fun <T> following(start: (RejoinClient) -> Flow<T>): Flow<T> = flow { emitAll(start(open().client)) }

    private suspend fun open(): OpenDatabase {
        if (!isClosed) opened?.let { return it }
        return opening.withLock {
            if (isClosed) throw RejoinException.Closed("the database ${file.name} is shut down; get a new one from Rejoin.android")
            opened ?: OpenDatabase.open(context, file, configure, scope).also { open ->
                opened = open
                scope.launch { open.client.status.collect { statuses.value = it } }
            }
        }
    }
}
