// The sync status and the length of the queue as an observable model.
//
// The tasks of the model hold it weakly, so they end when it is released.

import Observation
import Rejoin

/// The sync status and the number of mutations that wait, as an app shows them.
///
/// ```swift
/// let monitor = SyncMonitor(client)
/// if monitor.parked > 0 { showBadge(monitor.parked) }
/// ```
///
/// Works offline: being offline is a status.
@available(iOS 17, macOS 14, *)
@MainActor @Observable
public final class SyncMonitor {
    /// The current sync status.
    public private(set) var status: SyncStatus
    /// The number of mutations in each state; `nil` until it is read, and for a database without a client, such as a fake.
    public private(set) var counts: PendingCounts?
    /// The reason of the last failure, as a lower-case fragment; `nil` once everything is synced.
    public private(set) var lastError: String?

    @ObservationIgnored private var tasks: [Task<Void, Never>] = []

    /// Follows the status of a database; with a ``SyncedDatabase`` also its queue.
    public init(_ database: any RejoinDatabase) {
        status = database.status
        tasks.append(
            Task { [weak self, updates = database.statusUpdates] in
                for await status in updates { self?.show(status) }
            })
        guard let synced = database as? any SyncedDatabase else { return }
        // Subscribed before the first count, so that no change between the two is missed.
        tasks.append(
            Task { [weak self, changes = synced.changes()] in
                await self?.count(synced)
                for await change in changes where change.queue { await self?.count(synced) }
            })
    }

    deinit { tasks.forEach { $0.cancel() } }

    /// Number of mutations without a verdict.
    public var waiting: Int { counts.map { $0.pending + $0.sent + $0.uncertain } ?? 0 }

    /// Number of mutations that wait for the user's decision.
    public var parked: Int { counts?.parked ?? 0 }

    /// Whether no server is reachable.
    public var isOffline: Bool {
        if case .offline = status.state { true } else { false }
    }

    private func show(_ status: SyncStatus) {
        self.status = status
        switch status.state {
        case .waiting(_, let reason), .offline(_, let reason), .upgradeRequired(let reason), .failed(let reason, _):
            lastError = reason
        case .needsAuth: lastError = "credentials are missing or rejected"
        case .upToDate: lastError = nil
        default: break
        }
    }

    private func count(_ database: any SyncedDatabase) async {
        do {
            counts = try await database.client.queue.counts()
        } catch RejoinError.suspended {
            // The last counts stay; after `resume` the next change updates them.
        } catch {
            lastError = "\(error)"
        }
    }
}
