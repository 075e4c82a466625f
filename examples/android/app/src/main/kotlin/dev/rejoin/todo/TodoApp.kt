/*
 * The application: one database and one session for the process. RejoinSyncWorker finds the database here.
 *
 * The database opens in the background, on the first call. Inspections.kt has what the screens call.
 */
package dev.rejoin.todo

import android.app.Application
import android.content.Context
import dev.rejoin.LogLevel
import dev.rejoin.Rejoin
import dev.rejoin.android.*

/** The server of examples/android/server. In an emulator, 10.0.2.2 is the computer that it runs on. */
const val SERVER: String = "http://10.0.2.2:7878"

class TodoApp : Application(), RejoinProvider {
    private val tokens by lazy { TokenStore(this) }

    override val rejoin: AndroidDatabase by lazy { openDatabase(this, SERVER, tokens) }

    val inspections: Inspections by lazy { Inspections(rejoin, tokens) }
}

/** Returns the app's database on this server. */
fun openDatabase(context: Context, url: String, session: TokenStore): AndroidDatabase =
    Rejoin.android(context, "todo.db") {
        Rejoin.setLogger(LogLevel.DEBUG, LogcatLogger)
        server = url
        schema = asset("schema.json")
        // The demo's tokens cannot be renewed: after a rejection, the status asks the user to sign in again.
        tokens { session.read() }
        // For development: a server in production has https, and needs no exception.
        config { it.copy(allowHttp = true) }
    }
