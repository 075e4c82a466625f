/*
 * The configuration of a client. The engine owns defaults and limits; a null field uses the engine's default.
 */
package dev.rejoin

import dev.rejoin.ffi.ClientConfig
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.rejoin.ffi.ActionBudget as FfiActionBudget
import dev.rejoin.ffi.ConflictPolicy as FfiConflictPolicy
import dev.rejoin.ffi.Durability as FfiDurability
import dev.rejoin.ffi.MeteredPolicy as FfiMeteredPolicy

/** When background syncing may use a metered network. A sync that the app requests explicitly always runs. */
public enum class MeteredPolicy {
    /** Same as any other network. */
    ALLOW,

    /** Local writes are pushed, but pulls wait for an unmetered network. */
    PUSH_ONLY,

    /** No sync until the network is unmetered. */
    NEVER,
}

/** What an acknowledged local write survives. In both modes it survives a crash or kill of the app. */
public enum class Durability {
    /** A power cut or a crash of the operating system may lose the last writes; the file stays consistent. */
    NORMAL,

    /** Also survives a power cut, if the disk honours flushes: each commit waits for the disk. */
    FULL,
}

/** How this device resolves a conflict between a remote change and a plain SQL edit. Actions run again instead. */
public enum class ConflictPolicy {
    /** Keeps the server's row; the edit is parked with both rows. */
    ACCEPT_SERVER,

    /** Applies the edit's columns on top of the server's row and sends them again. An edit of a deleted row is parked. */
    REBASE,

    /** As [REBASE], but an edit of a deleted row restores the row. */
    KEEP_LOCAL,

    /** As [ACCEPT_SERVER], and also keeps the values that the edit was based on, so that the app can merge. */
    MANUAL,

    /** The server compares the times of both edits; the earlier one is parked as superseded. */
    LAST_WRITE_WINS,
}

/**
 * Limits for actions, declared or in code; all writers wait while an action runs. Null means the engine's default.
 *
 * @property run maximum duration of one run; for code, of one statement. Beyond it the run fails with
 *   [RejoinException.ActionTooSlow]. Default 2 s; 0.1 s to 1 min.
 * @property rebase maximum total duration of all runs caused by one batch of remote rows. At the limit, code is
 *   cancelled and the remaining actions are applied as recorded where possible. Default 2 s; 0.1 s to 1 min.
 * @property bytes maximum number of bytes that one run may write to synced tables, counting old and new values of
 *   each changed row. Beyond it the run fails with [RejoinException.ActionTooLarge]. Default 8 MiB; 1 KiB to 1 GiB.
 */
public data class ActionBudget(val run: Duration? = null, val rebase: Duration? = null, val bytes: Int? = null)

/**
 * How a client opens its file and syncs. Only the path is required.
 *
 * ```kotlin
 * val config = RejoinConfig(
 *     path = "notes.db",
 *     server = "https://sync.example.org",
 *     syncInterval = 1.minutes,
 * )
 * ```
 *
 * [RejoinClient.open] first checks that each number and duration can be passed to the engine (not negative, at most
 * 49 days), then the limits below. Each check reports all its problems together. Durations are rounded up to whole
 * milliseconds.
 *
 * @property path the database file, created if it does not exist. Its directory must exist.
 * @property server the server, as `https://host/prefix`. Without it the client works offline and keeps all writes.
 *   `http://` is accepted for loopback addresses only; see [allowHttp].
 * @property allowHttp whether [server] may be `http://` to a host that is not a loopback address. Others on the
 *   network can then read and change rows and steal the token. For development in a local network or from an
 *   emulator. Default: false.
 * @property userId the user whose data this file holds. Default: the user that the server returns at registration. A
 *   plain Synchro server returns none; then the `sub` claim of the token, if it is a JWT.
 * @property deviceName this device's name in the server's list. Default `device`.
 * @property platform the kind of device. Default: the name of the operating system.
 * @property appVersion the app's version, as `1.2.3`; the server may require a newer one. Default `0.0.0`.
 * @property schema the schema manifest, bundled with the app so that the first start works offline. Default:
 *   fetched from the server.
 * @property policies the conflict policy per table. Default: the policy in the server's manifest.
 * @property syncInterval pause between two background sync passes. Default 30 s; 1 s to 1 day. While the server's event
 *   stream is open and nothing happens, the pause grows 64-fold, to at most 30 minutes: a change wakes the
 *   device.
 * @property pushDebounce the shortest time between two pushes of local writes; the first after a pause is immediate. Default 0.5 s; up to 1 min.
 * @property ackDeadline how long to wait for a response before the request counts as lost. Default 10 s; 1 s to 10
 *   min.
 * @property transactionIdle how long a transaction may run no statement before it is rolled back. Default 5 s; 0.1 s
 *   to 1 min.
 * @property actionBudget limits for actions. Default: see [ActionBudget].
 * @property maxRetries number of failed attempts after which the status is [SyncState.Failed]; attempts continue at
 *   each interval. Default 5; up to 100.
 * @property serverFaultAttempts number of server errors after which a mutation is parked. Default 50; 1 to 10,000.
 * @property serverFaultAge how long the server may fail on a mutation before it is parked. Default 1 day; 1 min to 30
 *   days.
 * @property pageSize rows per response. Default 1,000; 100 to 1,000. A snapshot begins with it; its pages then follow the
 *   speed of the network, up to the server's limit.
 * @property batchSize mutations per request. Default 100; 100 to 1,000.
 * @property metered what may use a metered network. Default: everything.
 * @property durability what an acknowledged local write survives. Default: a crash of the app, not a power cut.
 * @property readers number of read connections. Default 4; 1 to 16.
 * @property walLimit size in bytes beyond which the write-ahead log is checkpointed. Default 4 MiB; 64 KiB to 1 GiB.
 */
public data class RejoinConfig(
    val path: String,
    val server: String? = null,
    val userId: String? = null,
    val deviceName: String? = null,
    val platform: String? = null,
    val appVersion: String? = null,
    val schema: String? = null,
    val policies: Map<String, ConflictPolicy>? = null,
    val syncInterval: Duration? = null,
    val pushDebounce: Duration? = null,
    val ackDeadline: Duration? = null,
    val transactionIdle: Duration? = null,
    val actionBudget: ActionBudget? = null,
    val maxRetries: Int? = null,
    val serverFaultAttempts: Int? = null,
    val serverFaultAge: Duration? = null,
    val pageSize: Int? = null,
    val batchSize: Int? = null,
    val metered: MeteredPolicy? = null,
    val readers: Int? = null,
    val walLimit: Int? = null,
    val durability: Durability? = null,
    val allowHttp: Boolean? = null,
) {
    public companion object {
        /**
         * A new file, for tests and previews: `RejoinConfig.temporary().copy(schema = schema)`.
         *
         * It is a real database in a new folder within the system's folder for temporary files, and works offline.
         * Every open creates a database of its own; [RejoinClient.path] is its file. [RejoinClient.shutdown] removes
         * the folder. After a crash the folder stays until the system removes it. Before Android 13, set the
         * environment variable `TMPDIR` to the app's cache folder first.
         */
        public fun temporary(): RejoinConfig = RejoinConfig(":temporary:")
    }
}

internal fun RejoinConfig.toFfi(): ClientConfig {
    val problems = mutableListOf<String>()

    fun checked(field: String, given: Any?, number: Long?): UInt? {
        if (number == null || number in 0..UInt.MAX_VALUE.toLong()) return number?.toUInt()
        problems += "$field: $given is ${if (number < 0) "below zero" else "more than the engine counts"}"
        return null
    }

    fun millis(field: String, given: Duration?): UInt? = checked(field, given, given?.wholeMillis())

    fun count(field: String, given: Int?): UInt? = checked(field, given, given?.toLong())

    val config =
        ClientConfig(
            path = path,
            server = server,
            userId = userId,
            deviceName = deviceName,
            platform = platform,
            appVersion = appVersion,
            schema = schema,
            policies = policies?.mapValues { it.value.toFfi() },
            syncIntervalMs = millis("syncInterval", syncInterval),
            pushDebounceMs = millis("pushDebounce", pushDebounce),
            ackDeadlineMs = millis("ackDeadline", ackDeadline),
            transactionIdleMs = millis("transactionIdle", transactionIdle),
            actionBudget =
                actionBudget?.run {
                    FfiActionBudget(millis("actionBudget.run", run), millis("actionBudget.rebase", rebase), count("actionBudget.bytes", bytes))
                },
            maxRetries = count("maxRetries", maxRetries),
            serverFaultAttempts = count("serverFaultAttempts", serverFaultAttempts),
            serverFaultAgeMs = millis("serverFaultAge", serverFaultAge),
            pageSize = count("pageSize", pageSize),
            batchSize = count("batchSize", batchSize),
            metered =
                when (metered) {
                    null -> null
                    MeteredPolicy.ALLOW -> FfiMeteredPolicy.ALLOW
                    MeteredPolicy.PUSH_ONLY -> FfiMeteredPolicy.PUSH_ONLY
                    MeteredPolicy.NEVER -> FfiMeteredPolicy.NEVER
                },
            readers = count("readers", readers),
            walLimit = count("walLimit", walLimit),
            durability =
                when (durability) {
                    null -> null
                    Durability.NORMAL -> FfiDurability.NORMAL
                    Durability.FULL -> FfiDurability.FULL
                },
            allowHttp = allowHttp,
        )
    if (problems.isNotEmpty()) throw RejoinException.Configuration("configuration: ${problems.joinToString("; ")}")
    return config
}

private fun ConflictPolicy.toFfi(): FfiConflictPolicy =
    when (this) {
        ConflictPolicy.ACCEPT_SERVER -> FfiConflictPolicy.ACCEPT_SERVER
        ConflictPolicy.REBASE -> FfiConflictPolicy.REBASE
        ConflictPolicy.KEEP_LOCAL -> FfiConflictPolicy.KEEP_LOCAL
        ConflictPolicy.MANUAL -> FfiConflictPolicy.MANUAL
        ConflictPolicy.LAST_WRITE_WINS -> FfiConflictPolicy.LAST_WRITE_WINS
    }

/** A timeout for the engine: zero does not wait, and what is longer than 49 days is as good as that. */
internal fun Duration?.toTimeout(): UInt? {
    val millis = this?.wholeMillis() ?: return null
    if (millis < 0) throw RejoinException.InvalidInput("a timeout of $this is below zero; zero does not wait")
    return millis.coerceAtMost(UInt.MAX_VALUE.toLong()).toUInt()
}

/** Milliseconds, rounded away from zero: what is not nothing does not become nothing, and what is negative stays so. */
private fun Duration.wholeMillis(): Long {
    val whole = inWholeMilliseconds
    val isExact = isInfinite() || this == whole.milliseconds
    return if (isExact) whole else if (isNegative()) whole - 1 else whole + 1
}
