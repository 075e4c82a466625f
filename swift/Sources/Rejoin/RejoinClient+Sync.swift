// Controls syncing and reports its status.

import Foundation
internal import RejoinFFI

/// The result of a sync.
public struct SyncReport: Sendable, Hashable {
    /// Number of mutations that the server accepted.
    public let accepted: Int
    /// Number of mutations that were parked; ``RejoinClient/pending()`` has the reasons.
    public let parked: Int
    /// Number of rows received.
    public let pulled: Int
    /// Number of mutations without a verdict: the server asked to retry later, or they were written during the sync.
    public let stillPending: Int
}

/// The sync status.
public struct SyncStatus: Sendable, Hashable {
    /// The current state.
    public let state: SyncState
    /// Whether the tables have ever been complete.
    public let firstSync: FirstSync
}

/// What syncing is doing; local work continues in every state except ``suspended``.
public enum SyncState: Sendable, Hashable {
    /// Not started yet.
    case idle
    /// A sync pass has started.
    case connecting
    /// Local mutations are being sent.
    case pushing
    /// Remote rows are being fetched and applied: the number applied in this pass, the total if the server returned it,
    /// and the rate.
    case applying(done: Int, total: Int?, rowsPerSecond: Int)
    /// The server is temporarily unavailable; the next attempt is at this time.
    case waiting(until: Date, why: String)
    /// No server is reachable. `retryAt` is `nil` while the device reports no network.
    case offline(retryAt: Date?, why: String)
    /// The network is metered, and the policy defers the remaining work.
    case metered
    /// Credentials are missing or rejected; the queue waits for new ones.
    case needsAuth
    /// The server requires a newer version of the app, with its message; the queue waits.
    case upgradeRequired(why: String)
    /// An error that a quick retry does not fix; it is retried nevertheless.
    case failed(why: String, retryAt: Date)
    /// Everything is pushed and pulled; the time when the last pass ended.
    case upToDate(since: Date)
    /// The client is suspended and holds no file, lock or connection.
    case suspended
    /// Syncing was stopped.
    case stopped
}

/// Whether the tables have ever been complete.
public enum FirstSync: Sendable, Hashable {
    /// No rows have arrived yet.
    case absent
    /// In progress: the tables hold a part of the rows.
    case partial
    /// Done, possibly long ago.
    case done
}

extension RejoinClient {
    /// Starts syncing in the background: at once, then after writes, when the server has changes, and at each interval.
    ///
    /// Being offline is a status, not an error. Starting twice has no effect.
    ///
    /// - Throws: ``RejoinError/invalidInput(reason:)`` without a configured server.
    public func start() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.start() }
    }

    /// Stops syncing; local work continues and writes wait. Stopping twice has no effect.
    public func stop() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.stop() }
    }

    /// Syncs now, regardless of the metered policy; the status reports the result. Starts syncing if it is stopped.
    public func syncNow() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.syncNow() }
    }

    /// Pushes and pulls everything and waits: afterwards each mutation pending at the call has its verdict, and all
    /// changes of the server are applied. Starts syncing if it is stopped.
    ///
    /// - Parameter timeout: how long to wait, rounded up to whole milliseconds; zero does not wait, a negative value
    ///   throws ``RejoinError/invalidInput(reason:)``, `nil` waits without limit.
    /// - Returns: what was done. A parked mutation is not an error: the report counts it.
    /// - Throws: ``RejoinError/offline(reason:)`` after one attempt without a server, and after the timeout;
    ///   `CancellationError` if the task is cancelled. The current attempt continues in the background.
    @discardableResult
    public func syncAndWait(timeout: Duration? = nil) async throws -> SyncReport {
        try outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        return SyncReport(try await abandonable { [ffi] in try await ffi.syncAndWait(timeoutMs: limit) })
    }

    /// Waits until the first sync is complete; returns at once if it is. Starts syncing if it is stopped.
    ///
    /// - Parameter timeout: how long to wait; `nil` waits until there is a network.
    /// - Throws: ``RejoinError/offline(reason:)`` after the timeout, `CancellationError` if the task is cancelled.
    public func waitForFirstSync(timeout: Duration? = nil) async throws {
        try outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        do {
            // Starts syncing and returns at once. The engine does not do the wait: it would continue after this task is
            // cancelled and retain the client until there is a network.
            return try await abandonable { [ffi] in try await ffi.waitForFirstSync(timeoutMs: 0) }
        } catch RejoinError.offline where limit != 0 {}
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let timeout {
                group.addTask {
                    try await Task.sleep(for: timeout)
                    throw RejoinError.offline(reason: "not done within \(timeout); it goes on in the background")
                }
            }
            group.addTask { try await self.firstSync() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Follows the status until the first sync is done, or cannot complete by waiting.
    private func firstSync() async throws {
        for await status in statusUpdates {
            if status.firstSync == .done { return }
            switch status.state {
            case .needsAuth: throw RejoinError.unauthorized(reason: "credentials are missing or refused; provide new ones")
            case .upgradeRequired(let why): throw RejoinError.upgradeRequired(reason: why)
            case .stopped: throw RejoinError.ended(reason: "syncing was stopped")
            default: continue
            }
        }
        try Task.checkCancellation()
        throw RejoinError.ended(reason: "the client was shut down")
    }

    /// The current sync status.
    public var status: SyncStatus { SyncStatus(ffi.status()) }

    /// The sync status now and after each change, until the client is shut down.
    ///
    /// ```swift
    /// for await status in client.statusUpdates {
    ///     banner.isHidden = status.state != .needsAuth
    /// }
    /// ```
    ///
    /// A slow reader skips to the latest status. Leaving the loop or cancelling its task ends the stream.
    public var statusUpdates: AsyncStream<SyncStatus> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let observer = StatusBridge { continuation.yield($0) } end: { continuation.finish() }
            let subscription = ffi.onStatus(observer: observer)
            continuation.onTermination = { _ in subscription.cancel() }
        }
    }

    /// Reports the state of the network: whether there is one, and whether it is metered. Going online triggers a sync.
    public func setNetwork(online: Bool, metered: Bool = false) {
        ffi.setNetwork(online: online, metered: metered)
    }

    /// Reports that the app came to the foreground. Triggers a sync, unless the server asked to wait.
    public func foreground() {
        ffi.foreground()
    }

    /// Reports that the token provider has new credentials; requests that failed without them are retried.
    public func credentialsChanged() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.credentialsChanged() }
    }
}

/// Converts a timeout for the engine; zero does not wait.
func milliseconds(_ timeout: Duration) throws -> UInt32 {
    guard timeout >= .zero else { throw RejoinError.invalidInput(reason: "a timeout of \(timeout) is below zero; zero does not wait") }
    // The maximum, 49 days, is as good as longer.
    return UInt32(clamping: timeout.milliseconds)
}
