// A subscription to a stream as an observable model.
//
// The task of the model holds it weakly, so releasing the model releases the subscription.

import Observation
import Rejoin

/// A subscription to a stream that is held as long as this model exists; then its ttl begins.
///
/// ```swift
/// let project = LiveSubscription("project", ["project": id], on: store)
/// if project.status == .loading { ProgressView() } // Observed by the views that read it.
/// ```
///
/// Works offline: the status is waiting until a sync returns one. A refused subscription is a status. See
/// `SyncHandle.subscribe`.
@available(iOS 17, macOS 14, *)
@MainActor @Observable
public final class LiveSubscription {
    /// Whether the rows are here.
    public private(set) var status = StreamStatus.waiting
    /// Why the subscription could not be stored; `nil` otherwise.
    public private(set) var error: (any Error)?

    @ObservationIgnored private var task: Task<Void, Never>?

    /// - Parameter stream: the stream's name.
    /// - Parameter parameters: the value of each parameter.
    /// - Parameter ttl: how long the rows stay after the model; `nil` is 24 hours.
    /// - Parameter priority: lower ones are loaded first; `nil` is 3.
    /// - Parameter database: a client or a ``RejoinStore``.
    public init(
        _ stream: String, _ parameters: [String: any StreamParameter] = [:], ttl: Duration? = nil, priority: UInt8? = nil,
        on database: any SyncedDatabase
    ) {
        task = Task { [weak self, database] in
            while !Task.isCancelled {
                do {
                    let client = try await database.client
                    let held = try await client.sync.subscribe(stream, parameters, ttl: ttl, priority: priority)
                    defer { held.release() }
                    for await _ in client.sync.subscriptionUpdates { self?.show(held.status) }
                    return
                } catch RejoinError.suspended {
                    for await status in database.statusUpdates where status.state != .suspended { break }
                } catch {
                    self?.error = error
                    return
                }
            }
        }
    }

    deinit { task?.cancel() }

    private func show(_ status: StreamStatus) {
        if self.status != status { self.status = status }
    }
}
