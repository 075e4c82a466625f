/*
 * What an app tells `Rejoin.android`. The engine checks values; only what Android can know is checked here.
 */
package dev.rejoin.android

import android.Manifest.permission.INTERNET
import android.content.Context
import android.content.pm.PackageManager.NameNotFoundException
import android.content.pm.PackageManager.PERMISSION_GRANTED
import android.os.Build
import dev.rejoin.Actions
import dev.rejoin.HttpTransport
import dev.rejoin.RejoinConfig
import dev.rejoin.RejoinException
import dev.rejoin.TokenProvider
import java.io.File
import java.io.IOException
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/**
 * The configuration of a database in an Android app. From [android].
 *
 * @property server the server, as `https://host/prefix`. Without it the database works offline and keeps all writes.
 * @property schema the schema manifest as JSON, bundled with the app so that the first start works offline. Default:
 *   fetched from the server.
 * @property actions the actions that the app performs.
 * @property transport replaces the built-in HTTP client.
 * @property autoStart whether syncing starts when the file is open, if there is a server. Default: true.
 * @property followLifecycle whether the file is closed while the app is in the background; see [RejoinLifecycle]. Default:
 *   true.
 * @property monitorNetwork whether the state of the network is reported to the engine; see [NetworkMonitor]. Default: true.
 * @property lastPush how long the app may push when it goes to the background. Default: 5 s.
 * @property backgroundSync whether [RejoinSyncWorker] is scheduled when the app goes to the background with unsent
 *   mutations. Default: whether the `Application` is a [RejoinProvider].
 */
public class AndroidOptions internal constructor(private val context: Context) {
    public var server: String? = null
    public var schema: String? = null
    public var actions: Actions? = null
    public var transport: HttpTransport? = null
    public var autoStart: Boolean = true
    public var followLifecycle: Boolean = true
    public var monitorNetwork: Boolean = true
    public var lastPush: Duration = 5.seconds
    public var backgroundSync: Boolean = context is RejoinProvider

    internal var tokens: TokenProvider? = null
    private var change: (RejoinConfig) -> RejoinConfig = { it }

    /** Sets the provider of the token that identifies the user. */
    public fun tokens(provider: TokenProvider) {
        tokens = provider
    }

    /**
     * Changes any other setting of [RejoinConfig]:
     *
     * ```kotlin
     * config { it.copy(metered = MeteredPolicy.PUSH_ONLY) }
     * ```
     */
    public fun config(change: (RejoinConfig) -> RejoinConfig) {
        this.change = change
    }

    /**
     * Returns the text of a file in the app's assets.
     *
     * @throws RejoinException.Configuration if there is no such file.
     */
    public fun asset(name: String): String =
        try {
            context.assets.open(name).bufferedReader().use { it.readText() }
        } catch (missing: IOException) {
            throw RejoinException.Configuration("asset $name: not in the app; put it into src/main/assets", missing)
        }

    /** The engine's configuration of the database in [file]. */
    internal fun toConfig(file: File): RejoinConfig {
        val device = RejoinConfig(file.path, server, deviceName = Build.MODEL, platform = "android", appVersion = appVersion(), schema = schema)
        val config = change(device)
        if (config.server != null && context.checkSelfPermission(INTERNET) != PERMISSION_GRANTED) {
            throw RejoinException.Configuration(
                "server: the app may not use the network; remove tools:node=\"remove\" of android.permission.INTERNET from its manifest",
            )
        }
        return config
    }

    /** The version that the app's manifest names; the engine's default if it names none. */
    private fun appVersion(): String? =
        try {
            context.packageManager.getPackageInfo(context.packageName, 0).versionName
        } catch (_: NameNotFoundException) {
            null
        }
}
