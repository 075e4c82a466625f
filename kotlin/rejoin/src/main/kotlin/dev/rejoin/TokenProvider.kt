/*
 * The app's credentials, as the engine asks for them.
 */
package dev.rejoin

import dev.rejoin.ffi.TokenProvider as FfiTokenProvider

/**
 * Gives the token that names the user.
 *
 * ```kotlin
 * val tokens = TokenProvider { refresh -> if (refresh) auth.refresh() else auth.token() }
 * ```
 */
public fun interface TokenProvider {
    /**
     * The token to send as `Authorization: Bearer`, or null when nobody is signed in.
     *
     * Asked at the start of each pass with [refresh] false: answer from memory. With [refresh] true the server has refused the
     * last one: get a new one. An exception means "not now", and it is asked again later; so does no answer within a minute.
     * Local work goes on meanwhile. Called on a thread of `Dispatchers.Default`, and cancelled when the answer is not wanted any
     * more.
     */
    public suspend fun token(refresh: Boolean): String?
}

internal fun TokenProvider.toFfi(): FfiTokenProvider =
    object : FfiTokenProvider {
        override suspend fun token(refresh: Boolean): String? = answered { this@toFfi.token(refresh) }
    }
