/*
 * Stores the user's token, encrypted with a key that never leaves the Android Keystore.
 *
 * A token that cannot be decrypted counts as absent, for example after a restore on another device: the user signs in again.
 * What the token allows, and for how long, is the server's decision.
 */
package dev.rejoin.todo

import android.content.Context
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import android.util.Base64
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.security.GeneralSecurityException
import java.security.KeyStore
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/** The token of the signed-in user. The Keystore can take long, so all calls leave the main thread. */
class TokenStore(private val context: Context) {
    private val preferences by lazy { context.getSharedPreferences("session", Context.MODE_PRIVATE) }

    /** Encrypts and stores a token. */
    suspend fun save(token: String): Unit =
        withContext(Dispatchers.IO) {
            val cipher = Cipher.getInstance(TRANSFORMATION).apply { init(Cipher.ENCRYPT_MODE, key() ?: newKey()) }
            // The Keystore chooses the initialization vector.
            val sealed = cipher.iv + cipher.doFinal(token.encodeToByteArray())
            check(preferences.edit().putString(TOKEN, Base64.encodeToString(sealed, Base64.NO_WRAP)).commit()) { "the token was not stored" }
        }

    /** Returns the token; null if no user is signed in. */
    suspend fun read(): String? =
        withContext(Dispatchers.IO) {
            val stored = preferences.getString(TOKEN, null) ?: return@withContext null
            try {
                val sealed = Base64.decode(stored, Base64.NO_WRAP)
                val cipher = Cipher.getInstance(TRANSFORMATION)
                cipher.init(Cipher.DECRYPT_MODE, key() ?: return@withContext null, GCMParameterSpec(TAG_BITS, sealed, 0, IV_BYTES))
                cipher.doFinal(sealed, IV_BYTES, sealed.size - IV_BYTES).decodeToString()
            } catch (_: GeneralSecurityException) {
                null
            } catch (_: IllegalArgumentException) {
                null // Not what `save` has written.
            }
        }

    /** Deletes the token and its key. */
    suspend fun clear(): Unit =
        withContext(Dispatchers.IO) {
            preferences.edit().remove(TOKEN).commit()
            keystore().deleteEntry(KEY)
        }

    private fun keystore(): KeyStore = KeyStore.getInstance(KEYSTORE).apply { load(null) }

    private fun key(): SecretKey? = keystore().getKey(KEY, null) as SecretKey?

    private fun newKey(): SecretKey {
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val spec =
            KeyGenParameterSpec.Builder(KEY, purposes)
                .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
                .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
                .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, KEYSTORE).apply { init(spec) }.generateKey()
    }

    private companion object {
        const val KEYSTORE = "AndroidKeyStore"
        const val TRANSFORMATION = "AES/GCM/NoPadding"
        const val KEY = "session"
        const val TOKEN = "token"
        const val IV_BYTES = 12
        const val TAG_BITS = 128
    }
}
