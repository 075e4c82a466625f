/*
 * What an app configures. The engine owns the defaults and the limits; what is left out here is left to it.
 */
package dev.rejoin

import dev.rejoin.ffi.ClientConfig
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.rejoin.ffi.ActionBudget as FfiActionBudget
import dev.rejoin.ffi.ConflictPolicy as FfiConflictPolicy
import dev.rejoin.ffi.Durability as FfiDurability
import dev.rejoin.ffi.MeteredPolicy as FfiMeteredPolicy

/** When background syncing may use a metered network. A sync that the app asks for by name is never held back. */
public enum class MeteredPolicy {
    /** As on any other network. */
    ALLOW,

    /** Local writes are pushed, but pulls wait for an unmetered network. */
    PUSH_ONLY,

    /** Nothing is exchanged until the network is unmetered. */
    NEVER,
}

/** What an acknowledged local write survives. Either survives the end of the app, by a crash or by the system. */
public enum class Durability {
    /** A power cut or a crash of the operating system may lose the last writes; what is left is a state that the app had. */
    NORMAL,

    /** A power cut as well, if the disk keeps its word: each commit waits until the disk has it. */
    FULL,
}

/** What this device does where a foreign change meets an edit of plain SQL. An action is run again instead. */
public enum class ConflictPolicy {
    /** The server's row stands; the edit is parked with both rows. */
    ACCEPT_SERVER,

    /** The edit's columns go over the server's row, and are sent again; the edit of a deleted row is parked. */
    REBASE,

    /** As [REBASE]; and the edit of a deleted row brings the row back. */
    KEEP_LOCAL,

    /** As [ACCEPT_SERVER], with what the edit had found kept beside both rows, for the app to merge. */
    MANUAL,

    /** The server compares the times of both; the earlier one is parked as superseded. */
    LAST_WRITE_WINS,
}

/**
 * What actions may take, be they data or code: everybody who writes waits for them. What is left out has the engine's default.
 *
 * @property run how long one run may take; of code it is one statement. One that takes longer is [RejoinException.ActionTooSlow].
 *   Default 2 s; from 0.1 s to a minute.
 * @property rebase how long all those together may run that one batch of remote rows makes run again. Code is given up at its end,
 *   and what is not done by then is laid down as it was recorded, if it fits. Default 2 s; from 0.1 s to a minute.
 * @property bytes how many bytes one run may write to synced tables: old and new values of each changed row. One that writes more is
 *   [RejoinException.ActionTooLarge]. Default 8 MiB; from 1 KiB to 1 GiB.
 */
public data class ActionBudget(val run: Duration? = null, val rebase: Duration? = null, val bytes: Int? = null)

/**
 * How a client is opened and how it syncs. Everything but the path may be left out.
 *
 * ```kotlin
 * val config = RejoinConfig(
 *     path = "notes.db",
 *     serverUrl = "https://sync.example.org",
 *     syncInterval = 1.minutes,
 * )
 * ```
 *
 * Checked by [RejoinClient.open]: first what the engine cannot be told at all (a number below zero, a duration beyond 49 days), all of
 * that at once; then the limits below, all of those at once. A part of a millisecond counts as a whole one.
 *
 * @property path the database's file; made if there is none. Its folder must exist.
 * @property serverUrl the server, as `https://host/prefix`. Without one the client works, and keeps what is written until there
 *   is one. `http://` is for a loopback address; see [allowHttp].
 * @property allowHttp whether [serverUrl] may be `http://` to a host that is not a loopback address. Others on the network can
 *   then read and change the rows, and steal the token. For development in a local network or from an emulator. Default: no.
 * @property userId whose data this file holds. Default: what the server says when the device registers; a plain Synchro server does
 *   not say it, there it is the `sub` of the token, if that is a JWT.
 * @property deviceName what to call this device in the server's list. Default `device`.
 * @property platform the kind of device. Default: the operating system's name.
 * @property appVersion the app's version, as `1.2.3`; the server may ask for a newer one. Default `0.0.0`.
 * @property schemaJson the schema's manifest, bundled with the app, so that the first start works offline. Default: fetched
 *   from the server.
 * @property policies what this device does about conflicts, by table. Default: what the server's manifest says of the table.
 * @property syncInterval how long after a pass the next begins by itself. Default 30 s; from a second to a day.
 * @property pushDebounce how long local writes are gathered before a push. Default 0.5 s; up to a minute.
 * @property ackDeadline how long an answer may take before the request counts as lost. Default 10 s; from a second to ten
 *   minutes.
 * @property transactionIdle how long a transaction may stand still before it is rolled back. Default 5 s; from 0.1 s to a minute.
 * @property actionBudget what actions may take. Default: what stands at [ActionBudget].
 * @property maxRetries how often a failed exchange is tried before the status says failed; it goes on trying at each interval.
 *   Default 5; up to 100.
 * @property serverFaultAttempts how often the server may fail on one local write before that is parked. Default 50; from 1 to
 *   10,000.
 * @property serverFaultAge how long the server may fail on it. Default a day; from a minute to 30 days.
 * @property pageSize rows asked for in one answer. Default 1,000; from 100 to 1,000.
 * @property batchSize mutations sent in one request. Default 100; from 100 to 1,000.
 * @property metered what may use a metered network. Default: everything.
 * @property durability what an acknowledged local write survives. Default: the end of the app, not a power cut.
 * @property readers connections that read. Default 4; from 1 to 16.
 * @property walLimit the write-ahead log is brought back into the database beyond this many bytes. Default 4 MiB; from 64 KiB to
 *   1 GiB.
 */
public data class RejoinConfig(
    val path: String,
    val serverUrl: String? = null,
    val userId: String? = null,
    val deviceName: String? = null,
    val platform: String? = null,
    val appVersion: String? = null,
    val schemaJson: String? = null,
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
)

internal fun RejoinConfig.toFfi(): ClientConfig {
    val problems = mutableListOf<String>()

    fun fitting(field: String, given: Any?, number: Long?): UInt? {
        if (number == null || number in 0..UInt.MAX_VALUE.toLong()) return number?.toUInt()
        problems += "$field: $given is ${if (number < 0) "below zero" else "more than the engine counts"}"
        return null
    }

    fun millis(field: String, given: Duration?): UInt? = fitting(field, given, given?.wholeMillis())

    fun count(field: String, given: Int?): UInt? = fitting(field, given, given?.toLong())

    val config =
        ClientConfig(
            path = path,
            serverUrl = serverUrl,
            userId = userId,
            deviceName = deviceName,
            platform = platform,
            appVersion = appVersion,
            schemaJson = schemaJson,
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
