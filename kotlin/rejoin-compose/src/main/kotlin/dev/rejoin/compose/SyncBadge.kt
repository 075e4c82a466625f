/*
 * The sync status as a small badge. Badge.kt decides what it shows.
 *
 * A screen reader reads the badge as one element, again after each change.
 */
package dev.rejoin.compose

import androidx.compose.foundation.background
import androidx.compose.foundation.clickable
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.shape.CircleShape
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.draw.clip
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.Role
import androidx.compose.ui.semantics.clearAndSetSemantics
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.onClick
import androidx.compose.ui.semantics.role
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp
import dev.rejoin.PendingCounts
import dev.rejoin.SyncStatus
import dev.rejoin.SyncedDatabase

/**
 * Shows the sync status of [database] and the numbers of waiting and of parked mutations.
 *
 * ```kotlin
 * TopAppBar(title = { Text("Tasks") }, actions = { SyncBadge(database, onClick = { showQueue = true }) })
 * ```
 *
 * @param onClick called on a click; without it the badge is not clickable.
 */
@Composable
public fun SyncBadge(
    database: SyncedDatabase,
    modifier: Modifier = Modifier,
    texts: SyncTexts = SyncTexts(),
    onClick: (() -> Unit)? = null,
) {
    val status by database.rememberSyncStatus()
    val counts by database.rememberPendingCounts()
    SyncBadge(status, modifier, counts, texts, onClick)
}

/** As the other [SyncBadge], for a status and counts that the app has; without [counts] it shows the status only. */
@Composable
public fun SyncBadge(
    status: SyncStatus,
    modifier: Modifier = Modifier,
    counts: PendingCounts? = null,
    texts: SyncTexts = SyncTexts(),
    onClick: (() -> Unit)? = null,
) {
    val content = badgeContent(status.state, counts, texts)
    val colors = badgeColors(content.tone)
    val semantics =
        Modifier.clearAndSetSemantics {
            contentDescription = texts.description(content.label, content.counts)
            liveRegion = LiveRegionMode.Polite
            if (onClick != null) {
                role = Role.Button
                onClick { onClick(); true }
            }
        }
    val clickable = if (onClick == null) Modifier else Modifier.clickable(onClick = onClick)
    Surface(modifier.clip(CircleShape).then(clickable).then(semantics), shape = CircleShape, color = colors.container, contentColor = colors.text) {
        Row(
            Modifier.padding(horizontal = 12.dp, vertical = 6.dp),
            horizontalArrangement = Arrangement.spacedBy(8.dp),
            verticalAlignment = Alignment.CenterVertically,
        ) {
            BadgeSign(content, colors.sign)
            Text(
                (listOf(content.label) + content.counts).joinToString(" · "),
                style = MaterialTheme.typography.labelMedium,
                maxLines = 1,
                overflow = TextOverflow.Ellipsis,
            )
        }
    }
}

/** A dot, or a ring while work is in progress. */
@Composable
private fun BadgeSign(content: BadgeContent, color: Color) {
    val progress = content.progress
    when {
        progress != null -> CircularProgressIndicator({ progress }, Modifier.size(12.dp), color, strokeWidth = 2.dp)
        content.tone == BadgeTone.ACTIVE -> CircularProgressIndicator(Modifier.size(12.dp), color, strokeWidth = 2.dp)
        else -> Box(Modifier.size(8.dp).background(color, CircleShape))
    }
}

private class BadgeColors(val container: Color, val text: Color, val sign: Color)

@Composable
private fun badgeColors(tone: BadgeTone): BadgeColors {
    val scheme = MaterialTheme.colorScheme
    return when (tone) {
        BadgeTone.CALM -> BadgeColors(scheme.surfaceContainerHigh, scheme.onSurfaceVariant, scheme.primary)
        BadgeTone.ACTIVE -> BadgeColors(scheme.primaryContainer, scheme.onPrimaryContainer, scheme.primary)
        BadgeTone.WAITING -> BadgeColors(scheme.surfaceContainerHigh, scheme.onSurfaceVariant, scheme.outline)
        BadgeTone.ALERT -> BadgeColors(scheme.errorContainer, scheme.onErrorContainer, scheme.error)
    }
}
