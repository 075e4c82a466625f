/*
 * The part of the sample that needs a device: an `Application` with its database. No test runs it; it makes the classes of
 * the archive reachable for R8, as an app does.
 */
package app.sample

import android.app.Application
import dev.rejoin.LogLevel
import dev.rejoin.Rejoin
import dev.rejoin.android.AndroidDatabase
import dev.rejoin.android.LogcatLogger
import dev.rejoin.android.RejoinProvider
import dev.rejoin.android.android

public class SampleApp : Application(), RejoinProvider {
    override val rejoin: AndroidDatabase by lazy {
        Rejoin.android(this, "sample.db") {
            server = "https://sync.example.org"
            schema = asset("schema.json")
            tokens { null }
        }
    }

    override fun onCreate() {
        super.onCreate()
        Rejoin.setLogger(LogLevel.INFO, LogcatLogger)
    }
}
