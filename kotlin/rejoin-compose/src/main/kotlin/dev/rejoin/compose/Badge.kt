/*
 * What the badge shows for a sync status: a pure function. SyncBadge.kt draws it.
 */
package dev.rejoin.compose

import dev.rejoin.PendingCounts
import dev.rejoin.SyncState

/** The importance of a state, which selects the colors. */
internal enum class BadgeTone {
    /** Nothing to do. */
    CALM,

    /** Work is in progress. */
    ACTIVE,

    /** Work waits for something that comes by itself. */
    WAITING,

    /** The user has to act. */
    ALERT,
}

/**
 * The content of the badge.
 *
 * @property label the state.
 * @property counts the numbers of waiting and of parked mutations, without zeros.
 * @property progress from 0 to 1; null if it is unknown or nothing is in progress.
 */
internal data class BadgeContent(val label: String, val counts: List<String>, val tone: BadgeTone, val progress: Float?)

/** The content for a state; [counts] is null if the app shows none. */
internal fun badgeContent(state: SyncState, counts: PendingCounts?, texts: SyncTexts): BadgeContent {
    val waiting = counts?.run { pending + sent + uncertain } ?: 0
    val parked = counts?.parked ?: 0
    val progress = (state as? SyncState.Applying)?.progress()
    val (label, tone) =
        when (state) {
            is SyncState.UpToDate -> texts.upToDate to BadgeTone.CALM
            is SyncState.Connecting -> texts.connecting to BadgeTone.ACTIVE
            is SyncState.Pushing -> texts.syncing(null) to BadgeTone.ACTIVE
            is SyncState.Applying -> texts.syncing(progress?.let { (it * 100).toInt() }) to BadgeTone.ACTIVE
            is SyncState.Offline -> texts.offline to BadgeTone.WAITING
            is SyncState.WaitingUntil -> texts.waitingForServer to BadgeTone.WAITING
            is SyncState.Metered -> texts.metered to BadgeTone.WAITING
            is SyncState.NeedsAuth -> texts.needsSignIn to BadgeTone.ALERT
            is SyncState.UpgradeRequired -> texts.upgradeRequired to BadgeTone.ALERT
            is SyncState.Failed -> texts.failed to BadgeTone.ALERT
            is SyncState.Idle, is SyncState.Suspended, is SyncState.Stopped -> texts.stopped to BadgeTone.WAITING
        }
    return BadgeContent(
        label = label,
        counts = listOfNotNull(texts.waiting(waiting).takeIf { waiting > 0 }, texts.parked(parked).takeIf { parked > 0 }),
        tone = if (parked > 0) BadgeTone.ALERT else tone,
        progress = progress,
    )
}

private fun SyncState.Applying.progress(): Float? = total?.takeIf { it > 0 }?.let { (done.toFloat() / it).coerceIn(0f, 1f) }
