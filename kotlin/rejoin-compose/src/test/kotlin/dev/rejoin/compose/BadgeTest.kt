/*
 * What the badge shows for each state: without an engine.
 */
package dev.rejoin.compose

import dev.rejoin.PendingCounts
import dev.rejoin.SyncState
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import kotlin.time.Instant

class BadgeTest {
    private val now = Instant.fromEpochMilliseconds(0)
    private val texts = SyncTexts()

    @Test
    fun `each state has its label and tone`() {
        val expected =
            mapOf(
                SyncState.Idle to ("Not syncing" to BadgeTone.WAITING),
                SyncState.Connecting to ("Connecting" to BadgeTone.ACTIVE),
                SyncState.Pushing to ("Syncing" to BadgeTone.ACTIVE),
                SyncState.Applying(1, null, 1) to ("Syncing" to BadgeTone.ACTIVE),
                SyncState.WaitingUntil(now, "busy") to ("Server unavailable" to BadgeTone.WAITING),
                SyncState.Offline(null, "none") to ("Offline" to BadgeTone.WAITING),
                SyncState.Metered to ("Waiting for Wi-Fi" to BadgeTone.WAITING),
                SyncState.NeedsAuth to ("Sign in to sync" to BadgeTone.ALERT),
                SyncState.UpgradeRequired("old") to ("Update required" to BadgeTone.ALERT),
                SyncState.Failed("bug", now) to ("Sync failed" to BadgeTone.ALERT),
                SyncState.UpToDate(now) to ("Up to date" to BadgeTone.CALM),
                SyncState.Suspended to ("Not syncing" to BadgeTone.WAITING),
                SyncState.Stopped to ("Not syncing" to BadgeTone.WAITING),
            )
        for ((state, content) in expected) {
            assertEquals(BadgeContent(content.first, emptyList(), content.second, null), badgeContent(state, null, texts), "$state")
        }
    }

    @Test
    fun `progress is a part of the total`() {
        assertEquals(BadgeContent("Syncing 25 %", emptyList(), BadgeTone.ACTIVE, 0.25f), badgeContent(SyncState.Applying(1, 4, 1), null, texts))
        assertEquals(1f, badgeContent(SyncState.Applying(5, 4, 1), null, texts).progress) // The total was an estimate.
        assertEquals(null, badgeContent(SyncState.Applying(0, 0, 1), null, texts).progress)
    }

    @Test
    fun `waiting and parked mutations are counted`() {
        val content = badgeContent(SyncState.UpToDate(now), PendingCounts(pending = 1, sent = 1, uncertain = 1, parked = 2), texts)
        assertEquals(listOf("3 waiting", "2 to review"), content.counts)
        assertEquals(BadgeTone.ALERT, content.tone)
        assertEquals("Sync: Up to date, 3 waiting, 2 to review", texts.description(content.label, content.counts))
        assertEquals(emptyList<String>(), badgeContent(SyncState.UpToDate(now), PendingCounts(0, 0, 0, 0), texts).counts)
    }
}
