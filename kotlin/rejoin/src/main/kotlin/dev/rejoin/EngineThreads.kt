/*
 * Attaches the engine's threads to the JVM.
 *
 * A thread must be attached to call into the JVM. JNA attaches and detaches at every call, which costs more than the
 * call itself. Here a thread stays attached until it ends. Attached threads are daemons: an open client does not keep
 * the process alive.
 */
package dev.rejoin

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native
import dev.rejoin.ffi.uniffiRustFutureContinuationCallbackImpl

/** Initialised once per process, at first use. */
internal object EngineThreads {
    init {
        val stays = CallbackThreadInitializer(true, false, "rejoin")
        Native.setCallbackThreadInitializer(uniffiRustFutureContinuationCallbackImpl, stays)
    }

    /** Triggers the initialisation. */
    fun prepare(): Unit = Unit
}
