/*
 * Reports the device's network to the engine: without it, the engine finds out by its own failed attempts.
 */
package dev.rejoin.android

import android.content.Context
import android.net.ConnectivityManager
import android.net.Network
import android.net.NetworkCapabilities
import android.net.NetworkCapabilities.NET_CAPABILITY_INTERNET
import android.net.NetworkCapabilities.NET_CAPABILITY_NOT_METERED
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException

/**
 * Reports each change of the default network to [client], until it is closed: whether there is one, and whether it is
 * metered. A new network causes a sync at once. [android] has it built in.
 *
 * @throws RejoinException.Configuration if the app may not see the state of the network.
 */
public class NetworkMonitor(context: Context, private val client: RejoinClient) : AutoCloseable {
    private val manager = context.getSystemService(ConnectivityManager::class.java)

    private val callback =
        object : ConnectivityManager.NetworkCallback() {
            override fun onCapabilitiesChanged(network: Network, capabilities: NetworkCapabilities) = report(capabilities)

            override fun onLost(network: Network) = report(null)
        }

    init {
        try {
            manager.registerDefaultNetworkCallback(callback)
            // The callback is not called if there is no network.
            if (manager.activeNetwork == null) report(null)
        } catch (refused: SecurityException) {
            throw RejoinException.Configuration(
                "network: the app may not see its state; declare android.permission.ACCESS_NETWORK_STATE or set monitorNetwork = false",
                refused,
            )
        }
    }

    /** Stops reporting. Closing twice is no error. */
    override fun close() {
        try {
            manager.unregisterNetworkCallback(callback)
        } catch (_: IllegalArgumentException) {
            // Closed already.
        }
    }

    private fun report(capabilities: NetworkCapabilities?) {
        val online = capabilities?.hasCapability(NET_CAPABILITY_INTERNET) == true
        val metered = capabilities?.hasCapability(NET_CAPABILITY_NOT_METERED) == false
        try {
            client.sync.setNetwork(online, metered)
        } catch (_: RejoinException.Closed) {
            close()
        }
    }
}
