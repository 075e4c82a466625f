/*
 * Refuses a call that would freeze the app.
 */
package dev.rejoin.android

import android.os.Looper
import dev.rejoin.RejoinException
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.runBlocking
import kotlin.coroutines.ContinuationInterceptor

/** The class of the dispatcher of `runBlocking`; by its class, because R8 changes its name. */
private val blocking: Class<*>? = runBlocking { currentCoroutineContext()[ContinuationInterceptor]?.javaClass }

/** Throws if the caller is `runBlocking` on the main thread. */
internal suspend fun refuseBlockedMainThread() {
    if (Looper.myLooper() != Looper.getMainLooper()) return
    if (currentCoroutineContext()[ContinuationInterceptor]?.javaClass != blocking) return
    throw RejoinException.InvalidInput(
        "runBlocking on the main thread freezes the app until the database answers; launch a coroutine, as in lifecycleScope.launch { … }",
    )
}
