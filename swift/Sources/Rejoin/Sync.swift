// Syncing beyond start and stop: on request, waiting for it, and what the app reports about the device.

import Foundation
internal import RejoinFFI

/// Controls when a client syncs, and releases the file in the background.
///
/// ```swift
/// let report = try await client.sync.run(timeout: .seconds(20))
/// ```
///
/// A handle is the client under another name: it costs nothing to get.
public struct SyncHandle: Sendable {
    let client: RejoinClient
}

extension RejoinClient {
    /// Syncing on request, and signals of the device.
    public var sync: SyncHandle { SyncHandle(client: self) }
}

extension SyncHandle {
    /// Syncs now, regardless of the metered policy; the status reports the result. Starts syncing if it is stopped.
    public func request() async throws {
        try await client.callEngine { try await $0.syncNow() }
    }

    /// Pushes and pulls everything and waits: afterwards each mutation pending at the call has its verdict, and all
    /// changes of the server are applied. Starts syncing if it is stopped.
    ///
    /// - Parameter timeout: how long to wait, rounded up to whole milliseconds; zero does not wait, a negative value
    ///   throws ``RejoinError/invalidInput(_:)``, `nil` waits without limit.
    /// - Returns: what was done. A parked mutation is not an error: the report counts it.
    /// - Throws: ``RejoinError/offline(_:)`` after one attempt without a server, and after the timeout;
    ///   `CancellationError` if the task is cancelled. The current attempt continues in the background.
    @discardableResult
    public func run(timeout: Duration? = nil) async throws -> SyncReport {
        try client.outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        return SyncReport(try await abandonable { [ffi = client.ffi] in try await ffi.syncAndWait(timeoutMs: limit) })
    }

    /// Syncs, compares the rows of each synced table with the server's, and fetches again those that differ. Pending
    /// mutations stay. Starts syncing if it is stopped.
    ///
    /// Digests are compared first, so a sound file costs about 45 bytes for every thousand rows.
    ///
    /// - Parameter timeout: as for ``run(timeout:)``.
    /// - Throws: as ``run(timeout:)``; offline, the check is done by a later sync, and the next call returns a new
    ///   report. ``RejoinError/invalidInput(_:)`` if the server has no digests, as a Synchro server.
    public func doctor(timeout: Duration? = nil) async throws -> DoctorReport {
        try client.outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        return DoctorReport(try await abandonable { [ffi = client.ffi] in try await ffi.doctor(timeoutMs: limit) })
    }

    /// Fetches all rows of the synced tables again and waits. Pending mutations stay; rows that the server does not have
    /// are removed when all are here. ``doctor(timeout:)`` finds out whether this is necessary, and fetches less.
    ///
    /// - Parameter timeout: as for ``run(timeout:)``.
    /// - Throws: as ``run(timeout:)``; the rows are then fetched by a later sync.
    @discardableResult
    public func resync(timeout: Duration? = nil) async throws -> SyncReport {
        try client.outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        return SyncReport(try await abandonable { [ffi = client.ffi] in try await ffi.resync(timeoutMs: limit) })
    }

    /// Waits until the first sync is complete; returns at once if it is. Starts syncing if it is stopped.
    ///
    /// - Parameter timeout: how long to wait; `nil` waits until there is a network.
    /// - Throws: ``RejoinError/offline(_:)`` after the timeout, `CancellationError` if the task is cancelled.
    public func firstSync(timeout: Duration? = nil) async throws {
        try client.outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        do {
            // Starts syncing and returns at once. The engine does not do the wait: it would continue after this task is
            // cancelled and retain the client until there is a network.
            return try await abandonable { [ffi = client.ffi] in try await ffi.waitForFirstSync(timeoutMs: 0) }
        } catch RejoinError.offline where limit != 0 {}
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let timeout { group.addTask { try await endAfter(timeout) } }
            group.addTask { try await self.followStatus { $0.firstSync == .done } }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Follows the status until the wait is over, or cannot complete by waiting.
    func followStatus(until isOver: @Sendable (SyncStatus) -> Bool) async throws {
        for await status in client.statusUpdates {
            if isOver(status) { return }
            switch status.state {
            case .needsAuth: throw RejoinError.unauthorized("credentials are missing or refused; provide new ones")
            case .upgradeRequired(let reason): throw RejoinError.upgradeRequired(PlainError(reason: reason))
            case .stopped: throw RejoinError.closed("syncing was stopped")
            default: continue
            }
        }
        try Task.checkCancellation()
        throw RejoinError.closed("the client was shut down")
    }

    /// Reports the state of the network: whether there is one, and whether it is metered. Going online triggers a sync.
    public func setNetwork(online: Bool, metered: Bool = false) {
        client.ffi.setNetwork(online: online, metered: metered)
    }

    /// Reports that the app came to the foreground. Triggers a sync, unless the server asked to wait.
    public func foreground() {
        client.ffi.foreground()
    }

    /// Reports that the token provider has new credentials; requests that failed without them are retried.
    public func credentialsChanged() async throws {
        try await client.callEngine { try await $0.credentialsChanged() }
    }

    /// Releases the file, as iOS requires of an app in the background: rolls back open transactions, closes all
    /// connections and drops all locks.
    ///
    /// No committed data is lost. Calls throw ``RejoinError/suspended(_:)`` until ``resume()``; watches stay and
    /// then deliver missed changes.
    ///
    /// - Throws: ``RejoinError/invalidInput(_:)`` inside this client's own transaction.
    public func suspend() async throws {
        try await client.callEngine { try await $0.suspend() }
    }

    /// Reopens the file after ``suspend()``.
    ///
    /// - Throws: as ``RejoinClient/open(_:)``; then the client stays suspended.
    public func resume() async throws {
        try await client.callEngine { try await $0.resume() }
    }
}

/// Throws when the timeout of a wait has passed.
func endAfter(_ timeout: Duration) async throws {
    try await Task.sleep(for: timeout)
    throw RejoinError.offline("not done within \(timeout); it goes on in the background")
}

/// Converts a timeout for the engine; zero does not wait.
func milliseconds(_ timeout: Duration) throws -> UInt32 {
    guard timeout >= .zero else { throw RejoinError.invalidInput("a timeout of \(timeout) is below zero; zero does not wait") }
    // The maximum, 49 days, is as good as longer.
    return UInt32(clamping: timeout.milliseconds)
}
