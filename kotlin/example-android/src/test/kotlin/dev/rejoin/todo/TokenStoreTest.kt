/*
 * The token store: what it keeps, what is on the disk, and what a lost key means.
 */
package dev.rejoin.todo

import android.content.Context
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment

@RunWith(RobolectricTestRunner::class)
class TokenStoreTest {
    private val app: Context = RuntimeEnvironment.getApplication()
    private val stored: String? get() = app.getSharedPreferences("session", Context.MODE_PRIVATE).getString("token", null)

    @Before
    fun install() = installKeystore()

    @Test
    fun `token is encrypted and read again by a new store`() =
        runBlocking {
            TokenStore(app).save("secret of Ana")
            val first = stored.orEmpty()
            assertTrue(first.isNotEmpty())
            assertFalse(String(java.util.Base64.getDecoder().decode(first), Charsets.ISO_8859_1).contains("secret"))
            assertEquals("secret of Ana", TokenStore(app).read())
            TokenStore(app).save("secret of Ana")
            assertFalse("the same initialization vector twice", first == stored)
        }

    @Test
    fun `sign-out deletes token and key`() =
        runBlocking {
            val tokens = TokenStore(app)
            assertNull(tokens.read())
            tokens.save("token")
            tokens.clear()
            assertNull(tokens.read())
            assertNull(stored)
            assertTrue(keystore.isEmpty())
        }

    @Test
    fun `token without its key is no token until the next sign-in`() =
        runBlocking {
            val tokens = TokenStore(app)
            tokens.save("token")
            keystore.clear()
            assertNull(tokens.read())
            tokens.save("other")
            assertEquals("other", tokens.read())
        }

    @Test
    fun `damaged token is no token`() =
        runBlocking {
            val tokens = TokenStore(app)
            tokens.save("token")
            for (damaged in listOf(stored.orEmpty().reversed().replace("=", "A"), "AAAA", "")) {
                app.getSharedPreferences("session", Context.MODE_PRIVATE).edit().putString("token", damaged).commit()
                assertNull(damaged, tokens.read())
            }
        }
}
