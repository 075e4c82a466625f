/*
 * Everything that can go wrong, one class per decision that a caller can take.
 *
 * What is expected is no exception: a refused write is a verdict, being offline is a status. No exception of the generated
 * bindings leaves this package; `ffi/` errors are translated in one place (Translation.kt).
 */
package dev.rejoin

import kotlin.time.Duration

/**
 * Anything that can go wrong; the doc of each class says what became of the data.
 *
 * ```kotlin
 * try {
 *     client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t1", "buy milk")
 * } catch (broken: RejoinException.Constraint) {
 *     show("${broken.column} is already taken")
 * }
 * ```
 *
 * The class is sealed, so that a `when` over it need no `else`.
 *
 * @property reason what happened and the way out, for developers; holds no values of the user's rows.
 */
public sealed class RejoinException(public val reason: String, cause: Throwable? = null) : Exception(reason, cause) {
    /**
     * The call cannot be served as it stands: SQL that does not compile, a wrong value, an unknown table, a call of the client from
     * inside its own transaction, for whose end it would wait. Nothing was changed.
     */
    public class InvalidInput(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /**
     * A declared rule does not hold; the statement was rolled back.
     *
     * @property table the table.
     * @property column the column, or columns joined by a comma.
     * @property rule `NOT NULL`, `UNIQUE`, `CHECK name` or `FOREIGN KEY`.
     */
    public class Constraint(
        reason: String,
        public val table: String,
        public val column: String,
        public val rule: String,
        cause: Throwable? = null,
    ) : RejoinException(reason, cause)

    /**
     * An action was not performed; nothing of it was kept.
     *
     * @property action the action's name.
     * @property fault what kind of matter it is.
     * @property words the app's own words for a refusal; what is wrong with the arguments; the table of two equal rows; else empty.
     */
    public class Action(
        reason: String,
        public val action: String,
        public val fault: ActionFault,
        public val words: String,
        cause: Throwable? = null,
    ) : RejoinException(reason, cause)

    /**
     * One run of an action took longer than it may; nothing of it was kept. Do less at a time, or allow more.
     *
     * @property action the action's name.
     * @property most what is allowed: [ActionBudget.run].
     */
    public class ActionTooSlow(
        reason: String,
        public val action: String,
        public val most: Duration,
        cause: Throwable? = null,
    ) : RejoinException(reason, cause)

    /**
     * One run of an action wrote more than it may; nothing of it was kept. Do less at a time, or allow more.
     *
     * @property action the action's name.
     * @property mostBytes what is allowed: [ActionBudget.bytes].
     */
    public class ActionTooLarge(
        reason: String,
        public val action: String,
        public val mostBytes: Long,
        cause: Throwable? = null,
    ) : RejoinException(reason, cause)

    /**
     * The mutation stands on a row that another one makes, which is parked; nothing was changed. Retry that, with its chain.
     *
     * @property id the parked mutation.
     */
    public class StandsOn(reason: String, public val id: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /**
     * Mutations wait or are parked that were not named, and a reset gives nobody's work up unnamed; nothing was changed.
     *
     * @property waiting how many.
     */
    public class Unsent(reason: String, public val waiting: Long, cause: Throwable? = null) : RejoinException(reason, cause)

    /**
     * What was to be taken back does not stand any more: rows have changed since. Nothing was changed.
     *
     * @property rows the rows, as they were left and as they are.
     */
    public class Changed(reason: String, public val rows: List<ChangedRow>, cause: Throwable? = null) : RejoinException(reason, cause)

    /** The local database failed (disk full, damaged, read-only, open elsewhere); the transaction was rolled back. */
    public class Storage(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** The file belongs to another user; nothing was touched. */
    public class WrongUser(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /**
     * The configuration is wrong. The reason names every problem that was looked for: those of numbers that the engine cannot be told
     * come first, and alone; the engine's own next.
     */
    public class Configuration(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** The client is suspended, or was while this ran; the transaction was rolled back. */
    public class Suspended(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** The client was shut down, or the transaction is over. */
    public class Ended(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** A transaction stood still for too long and was rolled back. */
    public class TransactionTimeout(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** No server could be reached; the queue is intact and will be sent again. */
    public class Offline(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** Credentials are missing or refused; the queue waits until there are new ones. */
    public class Unauthorized(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** The server asks for a newer version of the app; the queue waits. */
    public class UpgradeRequired(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /**
     * The server answered with an error; the queue is intact.
     *
     * @property status the HTTP status.
     * @property code the server's own word for it; empty from a server that has none.
     * @property retryable whether the same request may succeed later.
     */
    public class Server(
        reason: String,
        public val status: Int,
        public val code: String,
        public val retryable: Boolean,
        cause: Throwable? = null,
    ) : RejoinException(reason, cause)

    /** The server's answer is not of the protocol; nothing of it was applied. */
    public class Protocol(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** A function of the app failed while the engine waited for it. */
    public class Callback(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)

    /** A bug of the engine, or bytes that somebody spoiled; the transaction was rolled back. Report it with `diagnose()`. */
    public class Internal(reason: String, cause: Throwable? = null) : RejoinException(reason, cause)
}

/** Why an action was not performed. */
public enum class ActionFault {
    /** No action of this name is registered. */
    UNKNOWN,

    /** The arguments are not those that it takes. */
    ARGUMENTS,

    /** A rule of the app says no. */
    REFUSED,

    /** It makes two rows that nothing tells apart, and that have one id therefore. */
    SAME_ROW,

    /** Its code waits for something, and had not ended in time. */
    TIMED_OUT,
}

/**
 * A row that is not as a mutation left it. Values are null, [Long], [Double], [String] or [ByteArray].
 *
 * @property table the table's name.
 * @property key the row's key.
 * @property columns the columns that have another value; empty if the row went, or is back.
 * @property wrote what the mutation wrote, by column; null if it removed the row.
 * @property present the row as it is seen now, by column; null if there is none.
 */
public data class ChangedRow(
    val table: String,
    val key: Any?,
    val columns: List<String>,
    val wrote: Map<String, Any?>?,
    val present: Map<String, Any?>?,
)
