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

    /**
     * The user that a [token] of this provider names; null, as by default, if that is not known.
     *
     * Asked only for a token that is no JWT with a `sub`. A plain Synchro server never says whose a token is: without an answer
     * nothing is synced with one. A Rejoin server says it itself.
     */
    public suspend fun subject(token: String): String? = null
}

internal fun TokenProvider.toFfi(): FfiTokenProvider =
    object : FfiTokenProvider {
        override suspend fun token(refresh: Boolean): String? = answered { this@toFfi.token(refresh) }

        override suspend fun subject(token: String): String? = answered { this@toFfi.subject(token) }
    }
