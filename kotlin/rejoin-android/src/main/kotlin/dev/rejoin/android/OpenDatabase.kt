/*
 * An open client with what connects it to Android: lifecycle, network, worker.
 */
package dev.rejoin.android

import android.content.Context
import android.system.ErrnoException
import android.system.Os
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.io.File

internal class OpenDatabase private constructor(
    val client: RejoinClient,
    val lifecycle: RejoinLifecycle?,
    private val monitor: NetworkMonitor?,
) {
    /** Shuts the client down and waits. */
    suspend fun end() {
        monitor?.close()
        lifecycle?.close()
        client.shutdown()
    }

    companion object {
        /** Opens [file]. After an error nothing stays open. */
        suspend fun open(context: Context, file: File, configure: AndroidOptions.() -> Unit, scope: CoroutineScope): OpenDatabase {
            // Assets and the package manager read files.
            val (options, config) =
                withContext(Dispatchers.IO) {
                    prepareTemporaryFiles(context)
                    AndroidOptions(context).apply(configure).let { it to it.toConfig(file) }
                }
            val client = RejoinClient.open(config, options.tokens, options.transport, options.actions)
            try {
                if (config.server != null && options.autoStart) client.start()
                val monitor = if (options.monitorNetwork) NetworkMonitor(context, client) else null
                return OpenDatabase(client, options.lifecycle(client, context, scope), monitor)
            } catch (error: Throwable) {
                client.close()
                throw error
            }
        }

        private fun AndroidOptions.lifecycle(client: RejoinClient, context: Context, scope: CoroutineScope): RejoinLifecycle? {
            if (!followLifecycle) return null
            val stopped = { if (backgroundSync) RejoinSyncWorker.schedule(context) }
            return RejoinLifecycle(client, lastPush, scope = scope, onUnsent = stopped)
        }

        /** SQLite writes its temporary files there. Android sets it since version 13. */
        private fun prepareTemporaryFiles(context: Context) {
            try {
                Os.setenv("TMPDIR", context.cacheDir.path, false)
            } catch (error: ErrnoException) {
                throw RejoinException.Storage("TMPDIR cannot be set to the app's cache folder: ${error.message}", error)
            }
        }
    }
}
