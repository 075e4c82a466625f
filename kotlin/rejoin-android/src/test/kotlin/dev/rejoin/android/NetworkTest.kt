/*
 * The device's network, as ConnectivityManager reports it, in the sync status.
 */
package dev.rejoin.android

import android.Manifest.permission.ACCESS_NETWORK_STATE
import android.net.ConnectivityManager
import android.net.Network
import android.net.NetworkCapabilities
import android.net.NetworkCapabilities.NET_CAPABILITY_INTERNET
import android.net.NetworkCapabilities.NET_CAPABILITY_NOT_METERED
import dev.rejoin.MeteredPolicy
import dev.rejoin.RejoinException
import dev.rejoin.SyncState
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowNetworkCapabilities

@RunWith(RobolectricTestRunner::class)
class NetworkTest {
    private val AndroidStory.manager get() = app.getSystemService(ConnectivityManager::class.java)

    private val AndroidStory.network: Network get() = checkNotNull(manager.activeNetwork)

    private fun AndroidStory.reports(call: ConnectivityManager.NetworkCallback.() -> Unit) =
        shadowOf(manager).networkCallbacks.single().call()

    private fun capabilities(vararg capabilities: Int): NetworkCapabilities =
        ShadowNetworkCapabilities.newInstance().also { made -> capabilities.forEach { shadowOf(made).addCapability(it) } }

    private fun AndroidStory.awaitState(database: AndroidDatabase, state: (SyncState) -> Boolean) =
        await({ "the state; it is ${database.status.value.state}" }) { state(database.status.value.state) }

    @Test
    fun `a lost network is offline without another attempt, and its return syncs at once`() =
        androidStory {
            val server = server()
            val database = database(server)
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            val network = network
            reports { onLost(network) }
            awaitState(database) { it is SyncState.Offline }
            assertNull((database.status.value.state as SyncState.Offline).retryAt)
            calls { database.execute("INSERT INTO task(id, title) VALUES ('t1', 'in a tunnel')") }
            assertEquals(emptyList<List<String>>(), server.rows("SELECT id FROM task"))
            reports { onCapabilitiesChanged(network, capabilities(NET_CAPABILITY_INTERNET, NET_CAPABILITY_NOT_METERED)) }
            awaitState(database) { it is SyncState.UpToDate }
            assertEquals(listOf(listOf("t1")), server.rows("SELECT id FROM task"))
        }

    @Test
    fun `a metered network carries what the policy allows`() =
        androidStory {
            val server = server()
            val database = database(server) { config { it.copy(metered = MeteredPolicy.NEVER) } }
            enters()
            awaitState(database) { it is SyncState.UpToDate }
            reports { onCapabilitiesChanged(network, capabilities(NET_CAPABILITY_INTERNET)) }
            awaitState(database) { it is SyncState.Metered }
            calls { database.execute("INSERT INTO task(id, title) VALUES ('t1', 'waits for wifi')") }
            assertEquals(emptyList<List<String>>(), server.rows("SELECT id FROM task"))
            reports { onCapabilitiesChanged(network, capabilities(NET_CAPABILITY_INTERNET, NET_CAPABILITY_NOT_METERED)) }
            await({ "the push" }) { server.rows("SELECT id FROM task") == listOf(listOf("t1")) }
        }

    @Test
    fun `a device that starts without a network is offline`() =
        androidStory {
            shadowOf(manager).setDefaultNetworkActive(false)
            shadowOf(manager).setActiveNetworkInfo(null)
            val database = database(server())
            enters()
            awaitState(database) { it is SyncState.Offline }
        }

    @Test
    fun `a shut down database does not listen any more`() =
        androidStory {
            val database = database(server())
            calls { database.withClient { } }
            assertEquals(1, shadowOf(manager).networkCallbacks.size)
            calls { database.shutdown() }
            assertEquals(0, shadowOf(manager).networkCallbacks.size)
        }
}
