// Syncing, as far as the app steers it, and what it is doing.

import Foundation
internal import RejoinFFI

/// What a sync brought about.
public struct SyncReport: Sendable, Hashable {
    /// Mutations that the server accepted.
    public let accepted: Int
    /// Mutations that it did not; ``RejoinClient/pending()`` says why.
    public let parked: Int
    /// Rows that came in.
    public let pulled: Int
    /// Mutations that still have no verdict: the server asked to be tried again, or they were written meanwhile.
    public let stillPending: Int
}

/// What syncing is doing, and how far it ever came.
public struct SyncStatus: Sendable, Hashable {
    /// What it is doing.
    public let state: SyncState
    /// Whether the tables have ever been complete.
    public let firstSync: FirstSync
}

/// What syncing is doing.
public enum SyncState: Sendable, Hashable {
    /// Nothing was tried yet.
    case idle
    /// A pass has begun.
    case connecting
    /// Local writes are on their way.
    case pushing
    /// Remote rows are being fetched and applied: how many in this pass, how many are to come in all where the server has said
    /// so, and the pace.
    case applying(done: Int, total: Int?, rowsPerSecond: Int)
    /// The server answered that it cannot just now; it is tried again at this time.
    case waiting(until: Date, why: String)
    /// No server can be reached; local work goes on. `retryAt` is nothing while the device itself says that there is no network.
    case offline(retryAt: Date?, why: String)
    /// The network is metered, and the policy holds back what remains.
    case metered
    /// Credentials are missing or refused. Local work goes on; what was written waits for new ones.
    case needsAuth
    /// The server asks for a newer app, in these words. Local work goes on; what was written waits.
    case upgradeRequired(why: String)
    /// Something that a quick retry does not mend; tried again all the same.
    case failed(why: String, retryAt: Date)
    /// All was pushed and pulled.
    case upToDate(since: Date)
    /// The app is in the background: no file, no lock and no connection is held.
    case suspended
    /// Syncing was stopped; local work goes on.
    case stopped
}

/// Whether the tables have ever been complete.
public enum FirstSync: Sendable, Hashable {
    /// Nothing has come yet.
    case absent
    /// Under way: tables hold a part of the rows.
    case partial
    /// Done, maybe long ago.
    case done
}

extension RejoinClient {
    /// Begins to sync in the background: at once, then when something was written, when the server has news, and at each
    /// interval.
    ///
    /// Offline is a status, not an error. Starting twice is no error.
    ///
    /// - Throws: ``RejoinError/invalidInput(reason:)`` without a configured server.
    public func start() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.start() }
    }

    /// Ends syncing; local work goes on, and what is written waits. Stopping twice is no error.
    public func stop() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.stop() }
    }

    /// Syncs now, whatever the metered policy says; how it went stands in the status. Starts syncing if it was not started.
    public func syncNow() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.syncNow() }
    }

    /// Pushes and pulls everything, and waits for it: then what was pending at the call has its verdict, and what the server
    /// had is here. Starts syncing if it was not started.
    ///
    /// - Parameter timeout: how long to wait; zero does not wait, a part of a millisecond counts as a whole one, and below zero it is
    ///   ``RejoinError/invalidInput(reason:)``. `nil` for as long as it takes.
    /// - Returns: what was done. A parked mutation is no error: the report counts it.
    /// - Throws: ``RejoinError/offline(reason:)`` after one attempt without a server, and after the timeout;
    ///   `CancellationError` when the task is cancelled. The work goes on in the background, to the end of that attempt.
    @discardableResult
    public func syncAndWait(timeout: Duration? = nil) async throws -> SyncReport {
        try outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        return SyncReport(try await abandonable { [ffi] in try await ffi.syncAndWait(timeoutMs: limit) })
    }

    /// Waits until everything has been here once; at once if it has. Starts syncing if it was not started.
    ///
    /// - Parameter timeout: how long to wait; `nil` for as long as it takes a network to come.
    /// - Throws: ``RejoinError/offline(reason:)`` after the timeout, `CancellationError` when the task is cancelled.
    public func waitForFirstSync(timeout: Duration? = nil) async throws {
        try outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        do {
            // Starts syncing, and answers at once. The wait itself is not the engine's: that would go on when this task is cancelled,
            // and hold the client until a network comes.
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

    /// Follows the status until everything has been here once, or waiting will not bring it.
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

    /// What syncing is doing.
    public var status: SyncStatus { SyncStatus(ffi.status()) }

    /// What syncing is doing, now and after each change, until the client is shut down.
    ///
    /// ```swift
    /// for await status in client.statusUpdates {
    ///     banner.isHidden = status.state != .needsAuth
    /// }
    /// ```
    ///
    /// A slow reader gets the latest status. Leaving the loop, and cancelling its task, end it.
    public var statusUpdates: AsyncStream<SyncStatus> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let observer = StatusBridge { continuation.yield($0) } end: { continuation.finish() }
            let subscription = ffi.onStatus(observer: observer)
            continuation.onTermination = { _ in subscription.cancel() }
        }
    }

    /// Tells what the device knows of its network: whether there is one, and whether its use costs money. Going online asks
    /// for a sync.
    public func setNetwork(online: Bool, metered: Bool = false) {
        ffi.setNetwork(online: online, metered: metered)
    }

    /// Tells that the app came to the foreground: a sync now, unless the server asked to be left alone.
    public func foreground() {
        ffi.foreground()
    }

    /// Tells that the token provider has other credentials than before: whoever needed them tries again.
    public func credentialsChanged() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.credentialsChanged() }
    }
}

/// A timeout as the engine takes it: zero does not wait.
func milliseconds(_ timeout: Duration) throws -> UInt32 {
    guard timeout >= .zero else { throw RejoinError.invalidInput(reason: "a timeout of \(timeout) is below zero; zero does not wait") }
    // Longer than 49 days is as good as that.
    return UInt32(clamping: timeout.milliseconds)
}
