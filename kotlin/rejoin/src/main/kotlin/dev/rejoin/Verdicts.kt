/*
 * Verdicts of mutations, reported until the app acknowledges them. Queue.kt has the calls.
 *
 * The engine's thread only appends to the mailbox. A collector that falls far behind reads the verdicts from the file
 * again, so memory stays bounded and none is missed.
 */
package dev.rejoin

import dev.rejoin.ffi.VerdictObserver
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.launch
import kotlin.time.Instant
import dev.rejoin.ffi.RejoinClient as FfiClient
import dev.rejoin.ffi.VerdictEntry as FfiVerdictEntry
import dev.rejoin.ffi.VerdictKind as FfiVerdictKind
import dev.rejoin.ffi.Verdicts as FfiVerdicts

/** How an attempt of a mutation ended. */
public enum class VerdictKind {
    /** The server accepted it, and the rows show it. */
    ACCEPTED,

    /** It was not accepted and waits for the app's decision; the reason says why. */
    PARKED,

    /**
     * The app discarded it after it was sent, and the server has answered. If the server had accepted it,
     * [VerdictEntry.becauseOf] names the mutation that reverts it.
     */
    WITHDRAWN,

    /**
     * In the log model: it was accepted earlier, and the authority has run it again after earlier changes arrived. It
     * now has the effect that [VerdictEntry.detail] shows.
     */
    CORRECTED,
}

/**
 * The verdict on one attempt of a mutation.
 *
 * @property number ascending and never reused; for [QueueHandle.acknowledgeVerdicts].
 * @property id the mutation's id.
 * @property attempt the attempt's number, from 1: [QueueHandle.retry] starts another attempt with its own verdict.
 * @property kind how the attempt ended.
 * @property reason why it is parked, if it is.
 * @property becauseOf the mutation that caused the parking, or that reverts this one.
 * @property action the action's name; null for plain SQL.
 * @property detail the server's message and, for a conflict, both versions of each row. Null if there is none or it
 *   exceeds 64 KiB; then see the detail of [QueueHandle.pending].
 * @property at when it arrived, by the device's clock.
 */
public data class VerdictEntry(
    val number: Long,
    val id: String,
    val attempt: Long,
    val kind: VerdictKind,
    val reason: ParkReason?,
    val becauseOf: String?,
    val action: String?,
    val detail: VerdictDetail?,
    val at: Instant,
)

/**
 * Verdicts that the app has not acknowledged.
 *
 * @property entries oldest first.
 * @property missed number of earlier verdicts that were dropped: only the newest 10,000 are kept.
 */
public data class Verdicts(val entries: List<VerdictEntry>, val missed: Long)

/** The flow of [QueueHandle.watchVerdicts]. */
internal fun FfiClient.arrivingVerdicts(): Flow<Verdicts> =
    channelFlow {
        // The engine does not notify observers of its end.
        val ended = launch { awaitEnd() }
        var lastSent = 0L
        while (ended.isActive) {
            val mailbox = VerdictMailbox()
            val closing = ended.invokeOnCompletion { mailbox.waiting.close() }
            val subscription = translated { watchVerdicts(mailbox) }
            try {
                for (news in mailbox.waiting) {
                    val entries = news.entries.filter { it.number > lastSent }
                    if (entries.isEmpty()) continue
                    lastSent = entries.last().number
                    send(news.copy(entries = entries))
                }
            } finally {
                closing.dispose()
                subscription.cancel()
                subscription.destroy()
            }
        }
    }.buffer(Channel.RENDEZVOUS)

/** Uncollected verdicts. Once full it accepts no more; the collector then reads the missed ones from the file. */
internal class VerdictMailbox : VerdictObserver {
    val waiting: Channel<Verdicts> = Channel(KEPT)

    override fun onVerdicts(verdicts: FfiVerdicts) {
        if (waiting.trySend(verdicts.toPublic()).isFailure) waiting.close()
    }

    companion object {
        /** Number of calls, of up to 100 verdicts each, kept for a busy collector. */
        const val KEPT: Int = 16
    }
}

internal fun FfiVerdicts.toPublic(): Verdicts = Verdicts(entries.map { it.toPublic() }, missed.toLong())

private fun FfiVerdictEntry.toPublic(): VerdictEntry =
    VerdictEntry(
        number = number,
        id = id,
        attempt = attempt,
        kind =
            when (kind) {
                FfiVerdictKind.ACCEPTED -> VerdictKind.ACCEPTED
                FfiVerdictKind.PARKED -> VerdictKind.PARKED
                FfiVerdictKind.WITHDRAWN -> VerdictKind.WITHDRAWN
                FfiVerdictKind.CORRECTED -> VerdictKind.CORRECTED
            },
        reason = reason?.toPublic(),
        becauseOf = becauseOf,
        action = action,
        detail = detail?.toPublic(),
        at = Instant.fromEpochMilliseconds(atMs),
    )
