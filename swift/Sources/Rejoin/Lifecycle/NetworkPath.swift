// The state of the network, on all systems of Apple.

#if canImport(Network)
import Foundation
import Network

extension AppLifecycle {
    /// Follows the network: whether there is one, and whether it is expensive or constrained, which counts as metered.
    ///
    /// - Returns: stops following when it is released; keep it as long as the lifecycle.
    public func followNetwork() -> Following {
        let monitor = NWPathMonitor()
        monitor.pathUpdateHandler = { [weak self] path in
            self?.network(online: path.status == .satisfied, metered: path.isExpensive || path.isConstrained)
        }
        monitor.start(queue: DispatchQueue(label: "dev.rejoin.network"))
        return Following { monitor.cancel() }
    }
}
#endif
