/*
 * All errors, one class per decision that a caller can take.
 *
 * Expected outcomes are not exceptions: a rejected mutation is a verdict, being offline is a status. Translation.kt
 * translates all errors of the generated bindings (`ffi/`); none leaves this package.
 */
package dev.rejoin

import kotlin.time.Duration

/**
 * Base class of all errors; each class documents what happened to the data.
 *
 * ```kotlin
 * try {
 *     client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "buy milk")
 * } catch (broken: RejoinException.Constraint) {
 *     show("${broken.column} is already taken")
 * }
 * ```
 *
 * A later version may add classes, and properties to a class: a `when` over the classes or codes needs an `else`.
 *
 * @property code the kind of the error, stable over releases: the name of the class, as `Constraint` and `InvalidInput`.
 *   The TypeScript SDK has the same codes.
 * @property reason what happened and what to do, for developers; contains no row data.
 */
public abstract class RejoinException internal constructor(
    public val code: String,
    public val reason: String,
    cause: Throwable? = null,
) : Exception(reason, cause) {
    /**
     * The call is invalid: SQL that does not compile, a wrong value, an unknown table, or a call inside the client's own
     * transaction that would wait for its end. Nothing was changed.
     */
    public class InvalidInput(reason: String, cause: Throwable? = null) : RejoinException("InvalidInput", reason, cause)

    /**
     * A declared rule is violated; the statement was rolled back.
     *
     * @property table the table.
     * @property column the column, or several joined by a comma.
     * @property rule `NOT NULL`, `UNIQUE`, `CHECK name` or `FOREIGN KEY`.
     */
    public class Constraint(
        reason: String,
        public val table: String,
        public val column: String,
        public val rule: String,
        cause: Throwable? = null,
    ) : RejoinException("Constraint", reason, cause)

    /**
     * An action was not performed; it was rolled back.
     *
     * @property action the action's name.
     * @property fault the kind of failure.
     * @property detail for a refusal the app's message; for wrong arguments the problem; for two equal rows their table;
     *   else empty.
     */
    public class Action(
        reason: String,
        public val action: String,
        public val fault: ActionFault,
        public val detail: String,
        cause: Throwable? = null,
    ) : RejoinException("Action", reason, cause)

    /**
     * One run of an action exceeded its time limit; it was rolled back. Do less per run, or raise the limit.
     *
     * @property action the action's name.
     * @property limit the limit: [ActionBudget.run].
     */
    public class ActionTooSlow(
        reason: String,
        public val action: String,
        public val limit: Duration,
        cause: Throwable? = null,
    ) : RejoinException("ActionTooSlow", reason, cause)

    /**
     * One run of an action wrote more than its limit; it was rolled back. Write less per run, or raise the limit.
     *
     * @property action the action's name.
     * @property limitBytes the limit: [ActionBudget.bytes].
     */
    public class ActionTooLarge(
        reason: String,
        public val action: String,
        public val limitBytes: Long,
        cause: Throwable? = null,
    ) : RejoinException("ActionTooLarge", reason, cause)

    /**
     * The mutation depends on a row that a parked mutation creates; nothing was changed. Retry that one, with its chain.
     *
     * @property id the parked mutation.
     */
    public class ParentParked(reason: String, public val id: String, cause: Throwable? = null) : RejoinException("ParentParked", reason, cause)

    /**
     * A reset would delete waiting or parked mutations that were not named; nothing was changed.
     *
     * @property waiting the number of such mutations.
     */
    public class Unsent(reason: String, public val waiting: Long, cause: Throwable? = null) : RejoinException("Unsent", reason, cause)

    /**
     * Rows that the undo would restore have changed since. Nothing was changed.
     *
     * @property rows the rows, as the mutation left them and as they are now.
     */
    public class Changed(reason: String, public val rows: List<ChangedRow>, cause: Throwable? = null) : RejoinException("Changed", reason, cause)

    /** The local database failed (disk full, damaged, read-only, locked); the transaction was rolled back. */
    public class Storage(reason: String, cause: Throwable? = null) : RejoinException("Storage", reason, cause)

    /** The file belongs to another user; nothing was changed. */
    public class WrongUser(reason: String, cause: Throwable? = null) : RejoinException("WrongUser", reason, cause)

    /**
     * The configuration is invalid. The reason lists all problems of one check: first values that cannot be passed to the
     * engine, otherwise the engine's own checks.
     */
    public class Configuration(reason: String, cause: Throwable? = null) : RejoinException("Configuration", reason, cause)

    /** The client is suspended, or was suspended during the call; the transaction was rolled back. */
    public class Suspended(reason: String, cause: Throwable? = null) : RejoinException("Suspended", reason, cause)

    /** The client was shut down, or the transaction has ended. */
    public class Closed(reason: String, cause: Throwable? = null) : RejoinException("Closed", reason, cause)

    /** A transaction was idle for too long and was rolled back. */
    public class TransactionTimeout(reason: String, cause: Throwable? = null) : RejoinException("TransactionTimeout", reason, cause)

    /** No server was reachable; the queue is intact and will be sent. */
    public class Offline(reason: String, cause: Throwable? = null) : RejoinException("Offline", reason, cause)

    /** Credentials are missing or rejected; the queue waits for new ones. */
    public class Unauthorized(reason: String, cause: Throwable? = null) : RejoinException("Unauthorized", reason, cause)

    /** The server requires a newer version of the app; the queue waits. */
    public class UpgradeRequired(reason: String, cause: Throwable? = null) : RejoinException("UpgradeRequired", reason, cause)

    /**
     * The server responded with an error; the queue is intact.
     *
     * @property status the HTTP status.
     * @property serverCode the server's error code; empty if it sent none.
     * @property retryable whether the same request may succeed later.
     */
    public class Server(
        reason: String,
        public val status: Int,
        public val serverCode: String,
        public val retryable: Boolean,
        cause: Throwable? = null,
    ) : RejoinException("Server", reason, cause)

    /**
     * The server refuses a subscription to a stream. The subscription stays, and brings rows if the server accepts it later.
     *
     * @property stream the stream's name.
     * @property refusal why, for programs.
     * @property detail the server's message.
     */
    public class SubscriptionRefused(
        reason: String,
        public val stream: String,
        public val refusal: RefusalCode,
        public val detail: String,
        cause: Throwable? = null,
    ) : RejoinException("SubscriptionRefused", reason, cause)

    /** The server's response violates the protocol; nothing of it was applied. */
    public class Protocol(reason: String, cause: Throwable? = null) : RejoinException("Protocol", reason, cause)

    /** A callback of the app failed. */
    public class Callback(reason: String, cause: Throwable? = null) : RejoinException("Callback", reason, cause)

    /** A bug of the engine, or damaged bytes; the transaction was rolled back. Report it with [StorageHandle.diagnose]. */
    public class Internal(reason: String, cause: Throwable? = null) : RejoinException("Internal", reason, cause)
}

/** Why an action was not performed. */
public enum class ActionFault {
    /** No action of this name is registered. */
    UNKNOWN,

    /** The arguments do not match the parameters. */
    ARGUMENTS,

    /** A rule of the app refused it. */
    REFUSED,

    /** It creates two rows with the same identity, which would get the same id. */
    SAME_ROW,

    /** Its code did not finish in time. */
    TIMED_OUT,
}

/**
 * A row that changed after a mutation. Values are null, [Long], [Double], [String] or [ByteArray].
 *
 * @property table the table's name.
 * @property key the row's key.
 * @property columns the columns with another value; empty if the row was deleted or restored.
 * @property wrote the values that the mutation wrote, by column; null if it deleted the row.
 * @property present the current row, by column; null if there is none.
 */
public data class ChangedRow(
    val table: String,
    val key: Any?,
    val columns: List<String>,
    val wrote: Map<String, Any?>?,
    val present: Map<String, Any?>?,
)
