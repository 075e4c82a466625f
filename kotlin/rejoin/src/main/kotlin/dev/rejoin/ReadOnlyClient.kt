/*
 * A file that another process writes, opened for reading.
 */
package dev.rejoin

import kotlinx.coroutines.flow.Flow
import dev.rejoin.ffi.ReadOnlyClient as FfiReadOnlyClient

/**
 * A file that the app writes, opened for reading in another process: a widget, a service with its own
 * `android:process`, a tool.
 *
 * ```kotlin
 * val reader = ReadOnlyClient.open(file.path)
 * val titles = reader.query("SELECT title FROM task WHERE done = ?", false).mapRows { it.string("title") }
 * reader.shutdown()
 * ```
 *
 * Works offline; syncing is left to the app. The file closes when the reader is garbage; [shutdown] waits for that.
 */
public class ReadOnlyClient private constructor(private val ffi: FfiReadOnlyClient) {
    /** Returns the rows of a query on the last commit of any process; see [RejoinDatabase.query]. */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer =
        RowBuffer.fromBytes(crossing { ffi.query(sql, params.toSql()) })

    /** Runs several queries on the same database state; see [RejoinDatabase.queryMany]. */
    public suspend fun queryMany(vararg statements: Statement): List<RowBuffer> =
        crossing { ffi.queryMany(statements.map(Statement::toFfi)) }.map(RowBuffer::fromBytes)

    /**
     * The rows of a query now, and again after every commit of any process that changes them; see
     * [RejoinDatabase.watch]. A commit of another process is noticed within a quarter of a second.
     */
    public fun watch(sql: String, vararg params: Any?): Flow<RowBuffer> {
        val values = params.toSql()
        return updates({ ffi.watch(sql, values, emptyList()) }) { RowBuffer.fromBytes(it.rows) }
    }

    /** Ends reads and watches, and closes the file. Closing twice is no error. */
    public suspend fun shutdown(): Unit = crossing { ffi.shutdown() }

    public companion object {
        /**
         * Opens the file at [path]. The app must have created it, with this version of Rejoin.
         *
         * @throws RejoinException.Storage if it does not exist, is no database or is damaged.
         * @throws RejoinException.InvalidInput if it belongs to another application or an older version.
         */
        public suspend fun open(path: String): ReadOnlyClient =
            ReadOnlyClient(crossing(FfiReadOnlyClient::destroy) { FfiReadOnlyClient.open(path) })
    }
}
