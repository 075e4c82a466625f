/*
 * How mutations ended, told until the app has said that it knows.
 *
 * The engine's thread only puts down what it tells. A collector that falls far behind is told again from the file, where all of it
 * stands, so that nothing piles up here and nothing is missed.
 */
package dev.rejoin

import dev.rejoin.ffi.VerdictObserver
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.launch
import kotlin.time.Instant
import dev.rejoin.ffi.VerdictEntry as FfiVerdictEntry
import dev.rejoin.ffi.VerdictKind as FfiVerdictKind
import dev.rejoin.ffi.Verdicts as FfiVerdicts

/** How an attempt of a mutation ended. */
public enum class VerdictKind {
    /** The server has it, and the rows show it. */
    ACCEPTED,

    /** It was not accepted, and waits for the app's decision; the reason says why. */
    PARKED,

    /**
     * The app gave it up after it was sent, and the server's word is here. If it had it, [VerdictEntry.becauseOf] names the mutation
     * that takes it back.
     */
    WITHDRAWN,
}

/**
 * The end of one attempt of a mutation.
 *
 * @property number rises, and is never given again; for [acknowledgeVerdicts].
 * @property id the mutation's name.
 * @property attempt which of its attempts, from 1: [retry] makes another, which has an end of its own.
 * @property kind how it ended.
 * @property reason why it is parked, if it is.
 * @property becauseOf the mutation that parked it, or takes it back.
 * @property action the action's name; null for plain SQL.
 * @property detail the server's words, and both rows of a conflict, as JSON. Null if there are none or more than 64 KiB: then they
 *   stand in the detail of [pending].
 * @property at when it came, by the device's clock.
 */
public data class VerdictEntry(
    val number: Long,
    val id: String,
    val attempt: Long,
    val kind: VerdictKind,
    val reason: ParkReason?,
    val becauseOf: String?,
    val action: String?,
    val detail: String?,
    val at: Instant,
)

/**
 * Verdicts that the app has not acknowledged.
 *
 * @property entries oldest first.
 * @property missed how many before them are not kept any more: the newest 10,000 are.
 */
public data class Verdicts(val entries: List<VerdictEntry>, val missed: Long)

/**
 * How mutations ended that the app has not acknowledged, oldest first, at most [most]. Each end of each attempt is one entry, in the
 * file since the moment when it came: no crash and no restart loses one.
 *
 * @throws RejoinException.InvalidInput if [most] is below zero.
 */
public suspend fun RejoinClient.verdicts(most: Int): Verdicts = writing { ffi.verdicts(most.toMost()) }.toPublic()

/** Says that the app has dealt with the verdicts up to this number: they are not told again. */
public suspend fun RejoinClient.acknowledgeVerdicts(through: Long): Unit = writing { ffi.acknowledgeVerdicts(through) }

/**
 * The verdicts that are not acknowledged, and then new ones as they come, each once to each collector.
 *
 * Cold. What was not acknowledged is told again to the next collector, and after the next start: at least once. The flow completes
 * when the client is shut down, and stands still while it is suspended. What a collector throws ends the flow and nothing else.
 *
 * ```kotlin
 * client.watchVerdicts().collect { news ->
 *     for (verdict in news.entries) if (verdict.kind == VerdictKind.PARKED) show(verdict)
 *     client.acknowledgeVerdicts(news.entries.last().number)
 * }
 * ```
 */
public fun RejoinClient.watchVerdicts(): Flow<Verdicts> =
    channelFlow {
        // Nobody tells an observer that there will be no more calls.
        val ended = launch { awaitEnd() }
        var told = 0L
        while (ended.isActive) {
            val mailbox = VerdictMailbox()
            val closing = ended.invokeOnCompletion { mailbox.waiting.close() }
            val subscription = translated { ffi.watchVerdicts(mailbox) }
            try {
                for (news in mailbox.waiting) {
                    val entries = news.entries.filter { it.number > told }
                    if (entries.isEmpty()) continue
                    told = entries.last().number
                    send(news.copy(entries = entries))
                }
            } finally {
                closing.dispose()
                subscription.cancel()
                subscription.destroy()
            }
        }
    }.buffer(Channel.RENDEZVOUS)

/** What was not collected yet. Once full it takes no more for good: what it missed another one is told, from the file. */
internal class VerdictMailbox : VerdictObserver {
    val waiting: Channel<Verdicts> = Channel(KEPT)

    override fun onVerdicts(verdicts: FfiVerdicts) {
        if (waiting.trySend(verdicts.toPublic()).isFailure) waiting.close()
    }

    companion object {
        /** So many calls, of up to 100 verdicts each, are kept for a collector that is busy. */
        const val KEPT: Int = 16
    }
}

/** How much is asked for. */
internal fun Int.toMost(): UInt {
    if (this < 0) throw RejoinException.InvalidInput("at most $this is below zero; zero gives nothing")
    return toUInt()
}

private fun FfiVerdicts.toPublic(): Verdicts = Verdicts(entries.map { it.toPublic() }, missed.toLong())

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
            },
        reason = reason?.toPublic(),
        becauseOf = becauseOf,
        action = action,
        detail = detail,
        at = Instant.fromEpochMilliseconds(atMs),
    )
