/*
 * Transactions and snapshots, as the body of a transaction or a read sees them. HeldTransaction.kt holds them by coroutines.
 */
package dev.rejoin

/**
 * The transaction passed to the body of [RejoinDatabase.transaction], valid until the body ends.
 *
 * It sees its own writes; others see them after the commit. All its writes to synced tables form one mutation, which the
 * server accepts or rejects as a whole. Run statements one after the other.
 *
 * An interface, so that a fake of [RejoinDatabase] can pass its own; a new member has a default implementation.
 */
public interface Transaction {
    /**
     * Runs one statement and returns the number of changed rows.
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not allowed; the transaction can
     *   continue.
     * @throws RejoinException.Constraint if a declared rule is violated; the transaction can continue.
     * @throws RejoinException.TransactionTimeout if the transaction was idle for too long.
     */
    public suspend fun execute(sql: String, vararg params: Any?): Long

    /** As the other [execute], with a [Statement]. */
    public suspend fun execute(statement: Statement): Long = execute(statement.sql, *statement.params)

    /**
     * Returns the rows of a query or of a writing statement with `RETURNING`.
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer

    /**
     * Returns the rows of a query, each converted to a [T].
     *
     * @throws RejoinException as [execute].
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)

    /**
     * Runs several statements in one call to the engine, all or none, and returns the number of rows that each changed.
     *
     * @throws RejoinException as [execute]; then the transaction can continue without them.
     */
    public suspend fun batch(statements: List<Statement>): List<Long>

    /**
     * Runs [body] in a savepoint: an exception in it, or cancellation, reverts only its writes. Savepoints nest and run
     * one at a time. A savepoint that ends while a nested one is open throws [RejoinException.InvalidInput]. A
     * transaction whose body returns while a savepoint is open is rolled back and throws the same.
     *
     * ```kotlin
     * client.transaction { tx ->
     *     tx.execute("INSERT INTO task(id, title) VALUES ('t1', 'buy milk')")
     *     runCatching { tx.savepoint { it.execute("INSERT INTO tag(id, task_id, name) VALUES ('g1', 'missing', 'x')") } }
     * }
     * ```
     */
    public suspend fun <T> savepoint(body: suspend (Transaction) -> T): T
}

/**
 * One snapshot of the database, unaffected by concurrent writes; passed to the body of [RejoinDatabase.read] and valid
 * until the body ends.
 *
 * An interface, for the same reason as [Transaction].
 */
public interface Snapshot {
    /**
     * Returns the rows of a query.
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not read-only.
     */
    public suspend fun query(sql: String, vararg params: Any?): RowBuffer

    /**
     * Returns the rows of a query, each converted to a [T].
     *
     * @throws RejoinException.InvalidInput if the statement does not compile or is not read-only.
     */
    public suspend fun <T> query(sql: String, vararg params: Any?, map: (Row) -> T): List<T> = query(sql, *params).mapRows(map)
}
