/*
 * The texts of the badge, in English; an app passes its translation. Badge.kt selects among them.
 */
package dev.rejoin.compose

/**
 * The texts of [SyncBadge]. Copy the instance with translated texts.
 *
 * ```kotlin
 * val german = SyncTexts(upToDate = "Aktuell", offline = "Offline", waiting = { "$it warten" })
 * ```
 *
 * @property upToDate everything is pushed and pulled.
 * @property connecting a sync has started.
 * @property syncing rows are sent or received; the argument is the progress in percent, null if it is unknown.
 * @property offline no server is reachable.
 * @property waitingForServer the server is temporarily unavailable.
 * @property metered the network is metered, and syncing waits for another one.
 * @property needsSignIn credentials are missing or rejected.
 * @property upgradeRequired the server requires a newer version of the app.
 * @property failed an error that a quick retry does not fix.
 * @property stopped syncing is not running.
 * @property waiting the number of mutations that wait for the server.
 * @property parked the number of mutations that wait for the user's decision.
 * @property description what a screen reader reads for the badge; the arguments are the state and the counts.
 */
public data class SyncTexts(
    val upToDate: String = "Up to date",
    val connecting: String = "Connecting",
    val syncing: (percent: Int?) -> String = { percent -> if (percent == null) "Syncing" else "Syncing $percent %" },
    val offline: String = "Offline",
    val waitingForServer: String = "Server unavailable",
    val metered: String = "Waiting for Wi-Fi",
    val needsSignIn: String = "Sign in to sync",
    val upgradeRequired: String = "Update required",
    val failed: String = "Sync failed",
    val stopped: String = "Not syncing",
    val waiting: (count: Long) -> String = { count -> "$count waiting" },
    val parked: (count: Long) -> String = { count -> "$count to review" },
    val description: (state: String, counts: List<String>) -> String = { state, counts -> (listOf("Sync: $state") + counts).joinToString() },
)
