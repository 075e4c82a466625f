/*
 * The client: opens a file, reads, writes and shuts down. Watch.kt has watched queries, Sync.kt has syncing.
 *
 * No call blocks a thread; every call that may wait is a suspend function. All errors of the engine and of the app's
 * callbacks arrive as RejoinException. Cancelling the caller does not stop work that has started, except a
 * transaction: it is rolled back unless its commit has started.
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
 * An open local database that syncs with a server.
 *
 * Everything except syncing works offline. Safe to use from any thread and any number of coroutines: reads see the
 * last committed state and never wait; writes run one at a time.
 *
 * ```kotlin
 * val client = RejoinClient.open(RejoinConfig("notes.db", serverUrl = "https://sync.example.org"), tokens)
 * client.start()
 * client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "buy milk")
 * client.watch("SELECT title FROM task") { it.string("title") }.collect(::show)
 * ```
 */
public class RejoinClient private constructor(internal val ffi: FfiClient, internal val home: ActionHome) : AutoCloseable {
    /** Absolute path of the database file. */
    public val path: String = ffi.path()

    private val statuses = MutableStateFlow(ffi.status().toPublic())

    // References the flow, not the client: otherwise the engine would keep an unreferenced client alive.
    private val statusSubscription = ffi.onStatus(StatusRelay(statuses))

    /** The current sync status and its changes. */
    public val status: StateFlow<SyncStatus> = statuses.asStateFlow()

    /**
     * Returns the rows of a query on the last committed state. Works offline and never waits for a write.
     *
     * Inside a transaction it still sees the last committed state; use [Transaction.query] to see the transaction's
     * own writes.
     *
     * ```kotlin
     * val open = client.query("SELECT id, title FROM task WHERE done = ?", false)
     * ```
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not read-only, or a parameter has
     *   a type that SQLite cannot store (see [Statement]).
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(crossing { ffi.query(sql, params.toSql()) })

    /**
     * Runs a query and converts each row to a [T] with [map].
     *
     * ```kotlin
     * val titles = client.query("SELECT title FROM task WHERE done = ?", false) { it.string("title") }
     * ```
     *
     * @throws RejoinException.InvalidInput as the other [query], and if [map] reads a column that does not exist or
     *   has another type.
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * Runs several queries on the same database state in one call to the engine.
     *
     * @throws RejoinException.InvalidInput as [query].
     */
    public suspend fun queryAll(vararg statements: Statement): List<RowBuffer> =
        crossing { ffi.queryAll(statements.map(Statement::toFfi)) }.map(RowBuffer::fromBytes)

    /**
     * Runs one statement in its own transaction and returns the number of changed rows.
     *
     * When it returns, writes to synced tables are on disk and in the queue; they are pushed when there is a network.
     * If the coroutine is cancelled while it waits, the statement may still take effect.
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not allowed, or the call is made
     *   inside this client's own transaction.
     * @throws RejoinException.Constraint if a declared rule is violated; nothing was changed.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long = writing { ffi.execute(sql, params.toSql()) }

    /** As the other [execute], with a [Statement]. */
    public suspend fun execute(statement: Statement): Long = execute(statement.sql, *statement.params)

    /**
     * Runs one writing statement that returns rows (`INSERT ... RETURNING`) in its own transaction.
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun executeReturning(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(writing { ffi.executeReturning(sql, params.toSql()) })

    /**
     * Runs several statements without parameters, separated by `;`, in one transaction.
     *
     * @throws RejoinException as [execute]; then none of the statements took effect.
     */
    public suspend fun executeBatch(sql: String): Unit = writing { ffi.executeBatch(sql) }

    /**
     * Runs several statements in one transaction and one call to the engine, and returns the number of rows that each
     * changed.
     *
     * Their writes to synced tables form one mutation: the server accepts or rejects it as a whole.
     *
     * ```kotlin
     * client.batch(tasks.map { Statement("INSERT INTO task(id, title) VALUES (?, ?)", it.id, it.title) })
     * ```
     *
     * @throws RejoinException as [execute]; then none of the statements took effect.
     */
    public suspend fun batch(statements: List<Statement>): List<Long> =
        writing { ffi.batch(statements.map(Statement::toFfi)) }

    /**
     * Runs [body] in one transaction: committed when it returns, rolled back when it throws or its coroutine is cancelled.
     *
     * Keep the body short: every other write waits for it, and it is rolled back after 5 s without a statement
     * ([RejoinConfig.transactionIdle]). Cancelling after the commit has started has no effect: the transaction is
     * committed.
     *
     * Inside the body, [execute], [transaction], [suspend], [shutdown] and all other calls of the client that would
     * wait for this transaction throw [RejoinException.InvalidInput]. Queries, watches, [read] and notifications such
     * as [setNetwork] are allowed.
     *
     * ```kotlin
     * client.transaction { tx ->
     *     val next = tx.query("SELECT ifnull(max(rank), 0) + 1 FROM task").first().long(0)
     *     tx.execute("INSERT INTO task(id, title, rank) VALUES (?, ?, ?)", id, title, next)
     * }
     * ```
     *
     * @throws RejoinException.TransactionTimeout if the body ran no statement for too long.
     * @throws RejoinException.Suspended or [RejoinException.Ended] if the client was suspended or shut down during
     *   the transaction.
     */
    public suspend fun <T> transaction(body: suspend (Transaction) -> T): T = holding({ ffi.begin() }) { it.run(body) }

    /**
     * Runs [body] on one snapshot of the database, unaffected by concurrent writes. Never waits for a write.
     *
     * ```kotlin
     * val (lists, tasks) = client.read { it.query("SELECT * FROM list") to it.query("SELECT * FROM task") }
     * ```
     *
     * @throws RejoinException.TransactionTimeout if the body ran no query for too long.
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
     * Creates a local-only table if it does not exist.
     *
     * @param definition the text between the parentheses of `CREATE TABLE`.
     * @throws RejoinException.InvalidInput if a foreign key references a synced table; nothing was created.
     */
    public suspend fun createTable(name: String, definition: String): Unit = writing { ffi.createTable(name, definition) }

    /**
     * Adds a column to a local-only table.
     *
     * @param definition the column's name, type and constraints.
     * @throws RejoinException.InvalidInput for a synced table: only the server changes its columns.
     */
    public suspend fun alterTable(name: String, definition: String): Unit = writing { ffi.alterTable(name, definition) }

    /**
     * Creates an index on columns of a table if it does not exist, and returns its name. Indexes on synced tables
     * survive schema changes.
     */
    public suspend fun createIndex(table: String, vararg columns: String): String =
        writing { ffi.createIndex(table, columns.asList()) }

    /**
     * Creates a full-text index over columns of a synced table and returns its name, `search_<table>`. The index
     * follows local and remote writes and stays on this device. An identical index is kept; a different one is
     * rebuilt.
     *
     * ```kotlin
     * client.createSearchIndex("place", "name", "note")
     * val found = client.query("SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank", "cafe")
     * ```
     *
     * Works offline; scans the table once.
     *
     * @param tokenizer an FTS5 tokenizer; `trigram` matches substrings. Default: `unicode61 remove_diacritics 2`.
     * @throws RejoinException.InvalidInput for a table that is not synced, no column, an unknown column or an unknown
     *   tokenizer; nothing was created.
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
     * Imports an app's old Synchro database. Its unsent changes are queued, and its rows are visible until the first
     * sync replaces them.
     *
     * The old file is copied and not modified; no other connection may have it open. The import is one transaction. A
     * repeated call imports only what is new. Works offline with a bundled schema.
     *
     * @param old the path of the old file; its write-ahead log is expected next to it.
     * @throws RejoinException.InvalidInput if the file is not a Synchro database, or no schema is available yet.
     * @throws RejoinException.Storage if the file is damaged or cannot be copied; nothing was imported.
     */
    public suspend fun importSynchro(old: String): SynchroImport = writing { ffi.importSynchro(old).toPublic() }

    /**
     * Releases the file, as iOS requires of an app in the background: rolls back open transactions, closes all
     * connections and drops all locks. No committed data is lost; calls throw [RejoinException.Suspended] until
     * [resume].
     *
     * @throws RejoinException.InvalidInput inside this client's own transaction.
     */
    public suspend fun suspend(): Unit = writing { ffi.suspend() }

    /**
     * Reopens the file after [suspend]. Each watched query runs once to pick up missed changes.
     *
     * @throws RejoinException as [open]; then the client stays suspended.
     */
    public suspend fun resume(): Unit = writing { ffi.resume() }

    /**
     * Shuts the client down and waits: calls made before finish, watches and flows complete, syncing stops, the file
     * is closed.
     *
     * Pending work stays in the file. Later calls throw [RejoinException.Ended]. Shutting down twice is no error.
     *
     * @throws RejoinException.InvalidInput inside this client's own transaction.
     */
    public suspend fun shutdown(): Unit = writing { ffi.shutdown() }

    /** Starts [shutdown] without waiting for it; safe to call on a UI thread. */
    override fun close() {
        // Undispatched: shutdown has started when this returns.
        closing.launch(start = CoroutineStart.UNDISPATCHED) { runCatching { ffi.shutdown() } }
    }

    /**
     * Returns a JSON bundle for a bug report: versions, configuration, pending mutations with their reasons, schema
     * and sizes. It contains no row data and no credentials.
     */
    public suspend fun diagnose(): String = writing { ffi.diagnose() }

    /** For calls that need the engine's writer: throws if the call would wait for this coroutine's own transaction. */
    internal suspend fun <T> writing(call: suspend () -> T): T {
        refuseInside(path)
        return crossing(block = call)
    }

    /** Runs [work] in the transaction that [begin] starts, and always releases the handle. */
    internal suspend fun <T> holding(begin: suspend () -> HeldTransaction, work: suspend (Transaction) -> T): T {
        refuseInside(path)
        val transaction = Transaction(crossing(HeldTransaction::destroy, begin))
        try {
            val inside = InsideTransaction(path, { transaction.isOver }, currentCoroutineContext()[InsideTransaction])
            return withContext(inside) { work(transaction) }
        } finally {
            // Also runs if the coroutine was cancelled before the body started.
            transaction.end()
        }
    }

    public companion object {
        private val closing = CoroutineScope(SupervisorJob() + Dispatchers.Default)

        /**
         * Opens the file, creating it if it does not exist. Works offline.
         *
         * A file that is already open in this process is shared. It must be opened with the same configuration; the
         * token provider, transport and actions of the first open stay in effect.
         *
         * @param tokens provides the token that identifies the user. Without it, requests carry the configured user,
         *   which a server accepts only from its own machine.
         * @param transport replaces the built-in HTTP client.
         * @param actions the actions that [perform] can run.
         * @throws RejoinException.Configuration with all problems found; see [RejoinConfig] and [Actions].
         * @throws RejoinException.Storage if the file cannot be opened; nothing was changed.
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
