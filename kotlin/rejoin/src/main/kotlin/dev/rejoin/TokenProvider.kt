/*
 * The app's credentials, requested by the engine.
 */
package dev.rejoin

import dev.rejoin.ffi.TokenProvider as FfiTokenProvider

/**
 * Provides the token that identifies the user.
 *
 * ```kotlin
 * val tokens = TokenProvider { refresh -> if (refresh) auth.refresh() else auth.token() }
 * ```
 */
public fun interface TokenProvider {
    /**
     * Returns the token to send as `Authorization: Bearer`, or null if no user is signed in.
     *
     * Called with [refresh] false at the start of each pass: return the stored token. [refresh] is true after the server
     * rejected the last token: get a new one. An exception, or no result within a minute, means "not now": it is called
     * again later, and local work continues. Called on a thread of `Dispatchers.IO`, and cancelled when the result is no
     * longer needed.
     */
    public suspend fun token(refresh: Boolean): String?

    /**
     * Returns the user that a [token] of this provider identifies; null, the default, if unknown.
     *
     * Called only for a token that is not a JWT with a `sub` claim. A plain Synchro server does not return the user:
     * without a result nothing is synced with such a token. A Rejoin server returns it.
     */
    public suspend fun subject(token: String): String? = null
}

internal fun TokenProvider.toFfi(): FfiTokenProvider =
    object : FfiTokenProvider {
        override suspend fun token(refresh: Boolean): String? = answered { this@toFfi.token(refresh) }

        override suspend fun subject(token: String): String? = answered { this@toFfi.subject(token) }
    }
