/*
 * Opens a database in an Android app: one call, which never blocks. AndroidDatabase.kt has what it returns.
 *
 * One database object exists for each file of the process, so that an activity that is created again does not open the
 * file again.
 */
package dev.rejoin.android

import android.content.Context
import dev.rejoin.Rejoin
import java.io.File
import java.util.concurrent.ConcurrentHashMap

/**
 * Returns the database in the file [name], which is created if it does not exist. Returns at once, also on the main thread:
 * the file is opened in the background, and the first call waits for it.
 *
 * The file is in the app's `noBackupFilesDir`: a restored copy of a queue would send its mutations again. Syncing starts if
 * a server is configured. While the app is in the background, the file is closed unless a call needs it.
 *
 * A second call with the same name returns the same object and does not run [configure]. So let [configure] refer to the
 * application, not to an activity.
 *
 * ```kotlin
 * class TodoApp : Application(), RejoinProvider {
 *     override val rejoin by lazy {
 *         Rejoin.android(this, "todo.db") {
 *             server = "https://sync.example.org"
 *             schema = asset("schema.json")
 *             tokens { refresh -> session.token(refresh) }
 *         }
 *     }
 * }
 * ```
 *
 * An error in the configuration or in the file is thrown by the first call, and again by each later one until it is
 * corrected: a [dev.rejoin.RejoinException] that names the cause and the remedy.
 *
 * @param configure runs once, in the background, before the file is opened; again if opening failed.
 */
public fun Rejoin.android(context: Context, name: String, configure: AndroidOptions.() -> Unit = {}): AndroidDatabase {
    val app = context.applicationContext ?: context
    val file = File(app.noBackupFilesDir, name).absoluteFile
    return databases.computeIfAbsent(file) { AndroidDatabase(app, it, configure) { ended -> databases.remove(file, ended) } }
}

/** The databases of the process, by file. */
private val databases = ConcurrentHashMap<File, AndroidDatabase>()

/** Implemented by an app's `Application`, so that [RejoinSyncWorker] finds the database in a process that it has started. */
public interface RejoinProvider {
    /** The app's database, from [android]. */
    public val rejoin: AndroidDatabase
}
