/*
 * The client: opens a file, reads, writes, syncs and shuts down. Its handles are in Queue.kt, Sync.kt, Schema.kt and
 * Storage.kt; RejoinDatabase.kt documents the everyday calls.
 *
 * No call blocks the caller's thread; every call that may wait is a suspend function. All errors of the engine and of the app's
 * callbacks arrive as RejoinException. Cancelling the caller does not stop work that has started, except a
 * transaction: it is rolled back unless its commit has started.
 */
package dev.rejoin

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import dev.rejoin.ffi.HeldSnapshot
import dev.rejoin.ffi.HeldTransaction
import dev.rejoin.ffi.Performed as FfiPerformed
import dev.rejoin.ffi.RejoinClient as FfiClient
import dev.rejoin.ffi.StatusObserver as FfiStatusObserver
import dev.rejoin.ffi.SyncStatus as FfiSyncStatus

/**
 * An open local database that syncs with a server.
 *
 * Everything except syncing works offline. Safe to use from any thread and any number of coroutines: reads see the
 * last committed state and never wait; writes run one at a time.
 *
 * ```kotlin
 * val client = RejoinClient.open(RejoinConfig("notes.db", server = "https://sync.example.org"), tokens)
 * client.start()
 * client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "buy milk")
 * client.watch("SELECT title FROM task") { it.string("title") }.collect(::show)
 * ```
 */
public class RejoinClient private constructor(internal val ffi: FfiClient, private val home: ActionHome) :
    SyncedDatabase,
    AutoCloseable {
    /** Absolute path of the database file. */
    public val path: String = ffi.path()

    /** The queue: waiting and parked mutations, verdicts, and the history of accepted mutations. */
    public val queue: QueueHandle = QueueHandle(this)

    /** Syncing beyond [start] and [stop]. */
    public val sync: SyncHandle = SyncHandle(this)

    /** The app's own tables and indexes. */
    public val schema: SchemaHandle = SchemaHandle(this)

    /** The database file: checkpoint, reset, import, diagnosis. */
    public val storage: StorageHandle = StorageHandle(this)

    private val statuses = MutableStateFlow(ffi.status().toPublic())

    // References the flow, not the client: otherwise the engine would keep an unreferenced client alive.
    private val statusSubscription = ffi.onStatus(StatusRelay(statuses))

    override val status: StateFlow<SyncStatus> = statuses.asStateFlow()

    /** Runs [block] with this client. */
    override suspend fun <T> withClient(block: suspend (RejoinClient) -> T): T = block(this)

    override suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(crossing { ffi.query(sql, params.toSql()) })

    override suspend fun queryMany(vararg statements: Statement): List<RowBuffer> =
        crossing { ffi.queryMany(statements.map(Statement::toFfi)) }.map(RowBuffer::fromBytes)

    override suspend fun <T> read(body: suspend (Snapshot) -> T): T {
        val snapshot = HeldSnapshotBody(crossing(HeldSnapshot::destroy) { ffi.beginRead() })
        try {
            return body(snapshot)
        } finally {
            snapshot.end()
        }
    }

    override suspend fun execute(sql: String, vararg params: Any?): Long {
        refuseInside(path)
        return onDisk { ffi.tryExecute(sql, params.toSql()) } ?: crossing { ffi.execute(sql, params.toSql()) }
    }

    override suspend fun executeReturning(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(writing { it.executeReturning(sql, params.toSql()) })

    override suspend fun executeScript(sql: String): Unit = writing { it.executeScript(sql) }

    override suspend fun batch(statements: List<Statement>): List<Long> = writing { it.batch(statements.map(Statement::toFfi)) }

    override suspend fun <T> transaction(body: suspend (Transaction) -> T): T = holding({ ffi.begin() }) { it.run(body) }

    override suspend fun perform(name: String, arguments: Map<String, Any?>): Performed =
        performing(arguments.toJson { "the arguments of action $name" }) { ffi.perform(name, it) }

    override suspend fun <A> perform(name: String, serializer: SerializationStrategy<A>, arguments: A): Performed =
        performing(arguments.toJson(serializer) { "the arguments of action $name" }) { ffi.perform(name, it) }

    override fun watch(sql: String, vararg params: Any?): Flow<RowBuffer> = ffi.watched(sql, params)

    override fun watchDifferences(sql: String, vararg params: Any?, key: List<String>): Flow<WatchUpdate> =
        ffi.watchedDifferences(sql, params, key)

    override fun changes(vararg tables: String): Flow<Change> = ffi.changed(tables.asList())

    /**
     * Starts syncing in the background: at once, then after writes, when the server has changes, and at each interval.
     *
     * Being offline is a status, not an exception. Starting twice has no effect.
     *
     * @throws RejoinException.InvalidInput without a configured server.
     */
    public suspend fun start(): Unit = writing { it.start() }

    /** Stops syncing; local work continues and writes wait. Stopping twice has no effect. */
    public suspend fun stop(): Unit = writing { it.stop() }

    /**
     * Shuts the client down and waits: calls made before finish, watches and flows complete, syncing stops, the file
     * is closed.
     *
     * Pending work stays in the file. Later calls throw [RejoinException.Closed]. Shutting down twice is no error.
     *
     * @throws RejoinException.InvalidInput inside this client's own transaction.
     */
    public suspend fun shutdown(): Unit = writing { it.shutdown() }

    /** Starts [shutdown] without waiting for it; safe to call on a UI thread. */
    override fun close() {
        // Undispatched: shutdown has started when this returns.
        closing.launch(start = CoroutineStart.UNDISPATCHED) { runCatching { ffi.shutdown() } }
    }

    /** For calls that need the engine's writer: throws if the call would wait for this coroutine's own transaction. */
    internal suspend fun <T> writing(call: suspend (FfiClient) -> T): T {
        refuseInside(path)
        return crossing { call(ffi) }
    }

    /** Runs [work] in the transaction that [begin] starts, and always releases the handle. */
    internal suspend fun <T> holding(begin: suspend () -> HeldTransaction, work: suspend (HeldTransactionBody) -> T): T {
        refuseInside(path)
        val transaction = HeldTransactionBody(crossing(HeldTransaction::destroy, begin))
        try {
            val inside = InsideTransaction(path, { transaction.isOver }, currentCoroutineContext()[InsideTransaction])
            return withContext(inside) { work(transaction) }
        } finally {
            // Also runs if the coroutine was cancelled before the body started.
            transaction.end()
        }
    }

    /** Performs an action with these arguments. */
    internal suspend fun performing(arguments: JsonElement, perform: suspend (String) -> FfiPerformed): Performed {
        val done =
            try {
                writing { perform(arguments.toString()) }
            } catch (error: RejoinException.Callback) {
                throw home.explained(error)
            }
        return Performed(done.id, Json.parseToJsonElement(done.valueJson))
    }

    public companion object {
        private val closing = CoroutineScope(SupervisorJob() + Dispatchers.Default)

        /**
         * Opens the file, creating it if it does not exist. Works offline.
         *
         * A file that is already open in this process is shared. It must be opened with the same configuration. Its
         * token provider, transport and actions are replaced by those that are given now; one of a kind that the first
         * open lacked is a [RejoinException.Configuration].
         *
         * @param tokens provides the token that identifies the user, as a lambda or an object. Without it, requests
         *   carry the configured user, which a server accepts only from its own machine.
         * @param transport replaces the built-in HTTP client.
         * @param actions the actions that [perform] can run.
         * @throws RejoinException.Configuration with all problems found (see [RejoinConfig] and [Actions]), or if the native
         *   library cannot be loaded.
         * @throws RejoinException.Storage if the file cannot be opened; nothing was changed.
         */
        public suspend fun open(
            config: RejoinConfig,
            tokens: TokenProvider? = null,
            transport: HttpTransport? = null,
            actions: Actions? = null,
        ): RejoinClient {
            translated { EngineThreads.prepare() }
            val home = ActionHome()
            val registry = actions?.toFfi(home)
            try {
                val ffi = crossing(FfiClient::destroy) { FfiClient.open(config.toFfi(), tokens?.toFfi(), transport?.toFfi(), registry) }
                return RejoinClient(ffi, home).also { home.path = it.path }
            } finally {
                registry?.destroy()
            }
        }

        /** Opens the file at [path] with default settings and no server. */
        public suspend fun open(path: String): RejoinClient = open(RejoinConfig(path))
    }
}

/** Publishes each status to the flow. */
private class StatusRelay(private val statuses: MutableStateFlow<SyncStatus>) : FfiStatusObserver {
    override fun onStatus(status: FfiSyncStatus) {
        statuses.value = status.toPublic()
    }
}
