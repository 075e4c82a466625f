/*
 * The engine's threads, as the JVM sees them.
 *
 * A thread of the engine that calls into the JVM is attached to it. By itself JNA attaches and detaches with every call, which
 * costs more than the call; here a thread stays attached until it ends, which JNA notices. Attached threads are daemons: an
 * open client keeps no process from ending.
 */
package dev.rejoin

import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native
import dev.rejoin.ffi.uniffiRustFutureContinuationCallbackImpl

/** Prepared when it is first asked for, once in a process. */
internal object EngineThreads {
    init {
        val stays = CallbackThreadInitializer(true, false, "rejoin")
        Native.setCallbackThreadInitializer(uniffiRustFutureContinuationCallbackImpl, stays)
    }

    /** Nothing to do but to have been here. */
    fun prepare(): Unit = Unit
}
