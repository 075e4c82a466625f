/*
 * The client: opening, reading, writing, and the end. Watching is in Watch.kt, syncing in Sync.kt.
 *
 * Promise: no call blocks a thread; what may wait is a suspend function. Whatever the engine or the app's own functions throw
 * arrives as a RejoinException. A cancelled caller only does not hear of the end: work that began goes on, except a
 * transaction, which is rolled back unless its commit had begun.
 */
package dev.rejoin

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import dev.rejoin.ffi.HeldSnapshot
import dev.rejoin.ffi.HeldTransaction
import dev.rejoin.ffi.RejoinClient as FfiClient
import dev.rejoin.ffi.StatusObserver as FfiStatusObserver
import dev.rejoin.ffi.SyncStatus as FfiSyncStatus

/**
 * An open database that keeps itself in step with a server.
 *
 * Everything but syncing works without a network. Safe to use from any thread and any number of coroutines: reads see the last
 * committed state and wait for nobody, writes take their turn.
 *
 * ```kotlin
 * val client = RejoinClient.open(RejoinConfig("notes.db", serverUrl = "https://sync.example.org"), tokens)
 * client.start()
 * client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "buy milk")
 * client.watch("SELECT title FROM task") { it.string("title") }.collect(::show)
 * ```
 */
public class RejoinClient private constructor(internal val ffi: FfiClient, internal val home: ActionHome) : AutoCloseable {
    /** The file, by its full name. */
    public val path: String = ffi.path()

    private val statuses = MutableStateFlow(ffi.status().toPublic())

    // Holds the flow and not the client, or the engine would keep alive for ever a client that nobody holds any more.
    private val statusSubscription = ffi.onStatus(StatusRelay(statuses))

    /** What syncing is doing, now and as it changes. */
    public val status: StateFlow<SyncStatus> = statuses.asStateFlow()

    /**
     * The rows of a query, from the last committed state. Works offline and never waits for a write.
     *
     * Inside a transaction it still sees the last committed state; use [Transaction.query] to see what was written there.
     *
     * ```kotlin
     * val open = client.query("SELECT id, title FROM task WHERE done = ?", false)
     * ```
     *
     * @throws RejoinException.InvalidInput if the statement does not compile, or writes, or a parameter is of a type that
     *   SQLite cannot hold (see [Statement]).
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(crossing { ffi.query(sql, params.toSql()) })

    /**
     * The rows of a query, each made into a [T] by [map].
     *
     * ```kotlin
     * val titles = client.query("SELECT title FROM task WHERE done = ?", false) { it.string("title") }
     * ```
     *
     * @throws RejoinException.InvalidInput as the other [query], and if [map] reads what is not there.
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * The rows of several queries, all from one state of the database, in one crossing to the engine.
     *
     * @throws RejoinException.InvalidInput as [query].
     */
    public suspend fun queryAll(vararg statements: Statement): List<RowBuffer> =
        crossing { ffi.queryAll(statements.map(Statement::toFfi)) }.map(RowBuffer::fromBytes)

    /**
     * Runs one statement in a transaction of its own, and tells how many rows it changed.
     *
     * What it writes to synced tables is on disk, in the queue, when this returns; it is pushed when there is a network. If the
     * coroutine is cancelled meanwhile, the statement may have been done.
     *
     * @throws RejoinException.InvalidInput if it does not compile or is not allowed, and inside this client's own transaction.
     * @throws RejoinException.Constraint if a declared rule does not hold; nothing was changed.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long = writing { ffi.execute(sql, params.toSql()) }

    /**
     * Runs one statement that writes and gives rows (`INSERT ... RETURNING`), in a transaction of its own.
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun executeReturning(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(writing { ffi.executeReturning(sql, params.toSql()) })

    /**
     * Runs several statements without parameters, separated by `;`, in one transaction.
     *
     * @throws RejoinException as [execute]; nothing of any of them was done then.
     */
    public suspend fun executeBatch(sql: String): Unit = writing { ffi.executeBatch(sql) }

    /**
     * Runs several statements in one transaction and one crossing to the engine, and tells how many rows each changed.
     *
     * What they write to synced tables is one mutation: the server accepts or refuses it as a whole.
     *
     * ```kotlin
     * client.batch(tasks.map { Statement("INSERT INTO task(id, title) VALUES (?, ?)", it.id, it.title) })
     * ```
     *
     * @throws RejoinException as [execute]; nothing of any of them was done then.
     */
    public suspend fun batch(statements: List<Statement>): List<Long> =
        writing { ffi.batch(statements.map(Statement::toFfi)) }

    /**
     * Runs [body] in one transaction: committed when it returns, rolled back when it throws or its coroutine is cancelled.
     *
     * The body may wait for whatever it likes, but not for long: every other write waits for it, and after 5 s without a
     * statement ([RejoinConfig.transactionIdle]) it is rolled back. A cancellation that comes when the commit has begun is
     * too late: the transaction is committed all the same. Inside the body the client's own [execute], [transaction], [suspend],
     * [shutdown] and whatever else would wait for this very transaction are refused with [RejoinException.InvalidInput]: all but
     * queries, watches, [read], and what only tells the engine something.
     *
     * ```kotlin
     * client.transaction { tx ->
     *     val next = tx.query("SELECT ifnull(max(rank), 0) + 1 FROM task").first().long(0)
     *     tx.execute("INSERT INTO task(id, title, rank) VALUES (?, ?, ?)", id, title, next)
     * }
     * ```
     *
     * @throws RejoinException.TransactionTimeout if the body stood still for too long.
     * @throws RejoinException.Suspended or [RejoinException.Ended] if the client was suspended or shut down meanwhile.
     */
    public suspend fun <T> transaction(body: suspend (Transaction) -> T): T = holding({ ffi.begin() }) { it.run(body) }

    /**
     * Runs [body] with one state of the database, whatever is written meanwhile. Waits for no write.
     *
     * ```kotlin
     * val (lists, tasks) = client.read { it.query("SELECT * FROM list") to it.query("SELECT * FROM task") }
     * ```
     *
     * @throws RejoinException.TransactionTimeout if the body stood still for too long.
     */
    public suspend fun <T> read(body: suspend (Snapshot) -> T): T {
        val snapshot = Snapshot(crossing(HeldSnapshot::destroy) { ffi.beginRead() })
        try {
            return body(snapshot)
        } finally {
            snapshot.end()
        }
    }

    /**
     * Makes a table that stays on this device, unless it is there.
     *
     * @param definition what stands between the parentheses of `CREATE TABLE`.
     * @throws RejoinException.InvalidInput if it refers to a synced table by a foreign key; nothing was made then.
     */
    public suspend fun createTable(name: String, definition: String): Unit = writing { ffi.createTable(name, definition) }

    /**
     * Adds a column to a table of the app's own.
     *
     * @param definition the column's name, type and constraints.
     * @throws RejoinException.InvalidInput for a synced table, whose columns are the server's to change.
     */
    public suspend fun alterTable(name: String, definition: String): Unit = writing { ffi.alterTable(name, definition) }

    /**
     * Makes an index on columns of a table, unless it is there, and tells its name. On synced tables too, where it survives
     * changes of the schema.
     */
    public suspend fun createIndex(table: String, vararg columns: String): String =
        writing { ffi.createIndex(table, columns.asList()) }

    /**
     * Makes a full-text index over columns of a synced table, and tells its name, `search_<table>`. It is kept in step with the
     * table whoever writes, and stays on this device; the same one again stays as it is, another is made anew.
     *
     * ```kotlin
     * client.createSearchIndex("place", "name", "note")
     * val found = client.query("SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank", "cafe")
     * ```
     *
     * Works offline; costs a scan of the table.
     *
     * @param tokenizer one of FTS5's; `trigram` finds parts of words. Default: `unicode61 remove_diacritics 2`.
     * @throws RejoinException.InvalidInput for a table that is not synced, for no or an unknown column, and for an unknown
     *   tokenizer; nothing was made then.
     */
    public suspend fun createSearchIndex(table: String, vararg columns: String, tokenizer: String? = null): String =
        writing { ffi.createSearchIndex(table, columns.asList(), tokenizer) }

    /**
     * Removes the full-text index of a synced table, if it has one.
     *
     * @throws RejoinException.InvalidInput for a table that is not synced.
     */
    public suspend fun dropSearchIndex(table: String): Unit = writing { ffi.dropSearchIndex(table) }

    /**
     * Takes over an app's old Synchro database: what it had not sent is in the queue when this is done, and its rows are seen until
     * the first sync brings the server's.
     *
     * The old file is copied and stays as it is; nobody may have it open meanwhile. All is taken in one transaction, or nothing;
     * made again, the call takes what is new, and nothing twice. Works offline with a bundled schema.
     *
     * @param old the path of the old file; its write-ahead log is looked for beside it.
     * @throws RejoinException.InvalidInput for a file that is no Synchro database, and while no schema is known.
     * @throws RejoinException.Storage for a damaged file, and where it cannot be copied; nothing was taken then.
     */
    public suspend fun importSynchro(old: String): SynchroImport = writing { ffi.importSynchro(old).toPublic() }

    /**
     * Lets go of the file: rolls back what runs, closes every connection and drops every lock, as iOS demands of an app in the
     * background. Nothing committed is lost; calls throw [RejoinException.Suspended] until [resume].
     *
     * @throws RejoinException.InvalidInput inside this client's own transaction.
     */
    public suspend fun suspend(): Unit = writing { ffi.suspend() }

    /**
     * Opens the file again after [suspend]; watched queries run once, for what was missed.
     *
     * @throws RejoinException what opening throws; the client stays suspended then.
     */
    public suspend fun resume(): Unit = writing { ffi.resume() }

    /**
     * Ends the client, and waits for it: what was handed in before is done, watches and flows end, syncing stops, the file is
     * closed.
     *
     * Pending work stays in the file. Later calls throw [RejoinException.Ended]. Shutting down twice is no error.
     *
     * @throws RejoinException.InvalidInput inside this client's own transaction.
     */
    public suspend fun shutdown(): Unit = writing { ffi.shutdown() }

    /** Begins to end the client as [shutdown] does, and waits for nothing: fit for a user interface's thread. */
    override fun close() {
        // Undispatched: the end has begun when this returns.
        closing.launch(start = CoroutineStart.UNDISPATCHED) { runCatching { ffi.shutdown() } }
    }

    /**
     * One bundle of JSON for a bug report: versions, configuration, what waits and why, the schema, sizes. It holds no data of
     * the app's rows and no credentials.
     */
    public suspend fun diagnose(): String = writing { ffi.diagnose() }

    /** For whatever needs the engine's writer: would it wait for this coroutine's own transaction, it is refused at once. */
    internal suspend fun <T> writing(call: suspend () -> T): T {
        refuseInside(path)
        return crossing(block = call)
    }

    /** Runs [work] with the transaction that [begin] begins, and gives it back, whatever comes of it. */
    internal suspend fun <T> holding(begin: suspend () -> HeldTransaction, work: suspend (Transaction) -> T): T {
        refuseInside(path)
        val transaction = Transaction(crossing(HeldTransaction::destroy, begin))
        try {
            val inside = InsideTransaction(path, { transaction.isOver }, currentCoroutineContext()[InsideTransaction])
            return withContext(inside) { work(transaction) }
        } finally {
            // Also where the coroutine was cancelled before the body began.
            transaction.end()
        }
    }

    public companion object {
        private val closing = CoroutineScope(SupervisorJob() + Dispatchers.Default)

        /**
         * Opens the file, and makes it if there is none; works offline.
         *
         * A file that is open already in this process is shared, and must be opened with the same configuration; its token provider,
         * transport and actions stay those of the first to open it.
         *
         * @param tokens gives the token that names the user; without it requests carry the configured user, which a server
         *   believes on its own machine only.
         * @param transport replaces the built-in HTTP.
         * @param actions what [perform] can perform.
         * @throws RejoinException.Configuration with every problem; see [RejoinConfig] and [Actions].
         * @throws RejoinException.Storage if the file cannot be opened; nothing was changed then.
         */
        public suspend fun open(
            config: RejoinConfig,
            tokens: TokenProvider? = null,
            transport: HttpTransport? = null,
            actions: Actions? = null,
        ): RejoinClient {
            EngineThreads.prepare()
            val home = ActionHome()
            val registry = actions?.toFfi(home)
            try {
                val ffi = crossing(FfiClient::destroy) { FfiClient.open(config.toFfi(), tokens?.toFfi(), transport?.toFfi(), registry) }
                return RejoinClient(ffi, home).also { home.path = it.path }
            } finally {
                registry?.destroy()
            }
        }

        /** Opens the file at [path] with the defaults, and no server. */
        public suspend fun open(path: String): RejoinClient = open(RejoinConfig(path))
    }
}

/** Puts each status where it is watched. */
private class StatusRelay(private val statuses: MutableStateFlow<SyncStatus>) : FfiStatusObserver {
    override fun onStatus(status: FfiSyncStatus) {
        statuses.value = status.toPublic()
    }
}
