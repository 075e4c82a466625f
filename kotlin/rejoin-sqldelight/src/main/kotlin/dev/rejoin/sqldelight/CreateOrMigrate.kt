/*
 * Brings a file to the version of a generated schema, in one transaction.
 *
 * The version is the text of a view: it stays with the tables when `storage.reset` empties all of them, and it leaves
 * `PRAGMA user_version` to the app. The columns of synced tables are compared at every start,
 * because they change with the server's manifest.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.Query
import app.cash.sqldelight.Transacter
import app.cash.sqldelight.db.QueryResult
import app.cash.sqldelight.db.SqlCursor
import app.cash.sqldelight.db.SqlDriver
import app.cash.sqldelight.db.SqlPreparedStatement
import app.cash.sqldelight.db.SqlSchema
import dev.rejoin.RejoinDatabase
import dev.rejoin.RejoinException
import dev.rejoin.Statement
import dev.rejoin.Transaction

/**
 * Creates or migrates the app's own tables of a generated [schema], and compares its synced tables with the server's.
 * Call it after opening the client, before the first query.
 *
 * One transaction: after an error nothing was changed. Works offline with a bundled manifest
 * ([dev.rejoin.RejoinConfig.schema]); without one the synced tables do not exist yet, and the schema would create them
 * as the app's own.
 *
 * ```kotlin
 * val client = RejoinClient.open(config, tokens)
 * client.createOrMigrate(NotesDatabase.Schema)
 * ```
 *
 * @throws RejoinException.InvalidInput if a declared column of a synced table is not in the server's table or has another
 *   type; if a migration changes a synced table; if the file has a newer version than [schema]. It names the table.
 */
public suspend fun RejoinDatabase.createOrMigrate(schema: SqlSchema<*>): Unit =
    transaction { tx ->
        val version = tx.schemaVersion()
        val created = recorded { schema.create(it) }
        if (version != null && version > schema.version) {
            val reason = "the file has version $version of the SQLDelight schema; this app has only ${schema.version}"
            throw RejoinException.InvalidInput(reason)
        }
        for (statement in created) {
            val table = createTable(statement.sql)
            if (version == null || (table != null && tx.isSynced(table.table))) tx.run(statement)
        }
        if (version != null && version < schema.version) {
            for (statement in recorded { schema.migrate(it, version, schema.version) }) tx.run(statement)
        }
        if (version != schema.version) tx.storeVersion(schema.version)
    }

private const val VERSION = "sqldelight_schema_version"

private suspend fun Transaction.run(statement: Statement) {
    createTable(statement.sql)?.let { create(it) } ?: execute(statement)
}

private suspend fun Transaction.schemaVersion(): Long? {
    val isCreated = !query("SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ?", VERSION).isEmpty()
    return if (isCreated) query("SELECT version FROM $VERSION")[0].long(0) else null
}

private suspend fun Transaction.storeVersion(version: Long) {
    execute("DROP VIEW IF EXISTS $VERSION")
    execute("CREATE VIEW $VERSION AS SELECT $version AS version")
}

/** The statements that [run] executes. */
private suspend fun recorded(run: (SqlDriver) -> QueryResult<Unit>): List<Statement> =
    StatementRecorder().also { run(it).await() }.statements

/** Records statements, so that schemas of both kinds can run in a suspending transaction. */
private class StatementRecorder : SqlDriver {
    val statements = mutableListOf<Statement>()

    override fun execute(identifier: Int?, sql: String, parameters: Int, binders: (SqlPreparedStatement.() -> Unit)?): QueryResult<Long> {
        statements += Statement(sql, *bound(parameters, binders))
        return QueryResult.Value(0)
    }

    override fun <R> executeQuery(
        identifier: Int?,
        sql: String,
        mapper: (SqlCursor) -> QueryResult<R>,
        parameters: Int,
        binders: (SqlPreparedStatement.() -> Unit)?,
    ): QueryResult<R> = throw RejoinException.InvalidInput("a schema or migration cannot read rows: $sql")

    override fun newTransaction(): QueryResult<Transacter.Transaction> =
        throw RejoinException.InvalidInput("a schema or migration cannot begin a transaction: all of it is one")

    override fun currentTransaction(): Transacter.Transaction? = null

    override fun addListener(vararg queryKeys: String, listener: Query.Listener): Unit = Unit

    override fun removeListener(vararg queryKeys: String, listener: Query.Listener): Unit = Unit

    override fun notifyListeners(vararg queryKeys: String): Unit = Unit

    override fun close(): Unit = Unit
}
