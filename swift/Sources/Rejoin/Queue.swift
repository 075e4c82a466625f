// The queue of a client: what waits, and the verdict on it. Decisions, verdicts and history are in the files beside it.

import Foundation
internal import RejoinFFI

/// The mutations that the server has not accepted, their verdicts, and the history of those that it accepted.
///
/// ```swift
/// for mutation in try await client.queue.parked() {
///     try await client.queue.retry(mutation.id)
/// }
/// ```
///
/// A handle is the client under another name: it costs nothing to get.
public struct QueueHandle: Sendable {
    let client: RejoinClient
}

extension RejoinClient {
    /// The mutations, verdicts and history of this client.
    public var queue: QueueHandle { QueueHandle(client: self) }
}

extension QueueHandle {
    /// Returns all mutations that the server has not accepted, in the order in which they were written.
    ///
    /// ```swift
    /// for mutation in try await client.queue.parked() {
    ///     show(mutation.rows, because: mutation.detail)
    /// }
    /// ```
    ///
    /// Works offline and reads from the file, so the list is complete after a crash.
    public func all() async throws -> [PendingMutation] {
        try await client.callEngine { try await $0.pending() }.map(PendingMutation.init)
    }

    /// Returns those of ``all()`` that wait for the server: pending, sent and uncertain.
    public func pending() async throws -> [PendingMutation] {
        try await all().filter { $0.state != .parked }
    }

    /// Returns those of ``all()`` that wait for a decision of the app.
    public func parked() async throws -> [PendingMutation] {
        try await all().filter { $0.state == .parked }
    }

    /// Returns the number of mutations in each state; cheap.
    public func counts() async throws -> PendingCounts {
        PendingCounts(try await client.callEngine { try await $0.pendingCounts() })
    }

    /// Returns the sync state of a row. For a list use the SQL function `rejoin_row_state('table', id)` in the query.
    ///
    /// - Parameter table: the table's name.
    /// - Parameter key: the row's key.
    /// - Throws: ``RejoinError/invalidInput(_:)`` if the table is not synced.
    public func rowState(_ table: String, key: any SQLConvertible) async throws -> RowSyncState {
        RowSyncState(try await client.callEngine { try await $0.rowSyncState(table: table, key: key.sqlValue.ffi) })
    }

    /// Waits until the server's verdict on a mutation has arrived and is visible. Starts syncing if it is stopped.
    ///
    /// - Parameter id: the mutation's id, from ``all()``.
    /// - Parameter timeout: how long to wait; `nil` waits until there is a network.
    /// - Throws: ``RejoinError/offline(_:)`` after the timeout, ``RejoinError/suspended(_:)`` if the client
    ///   stays suspended for long, `CancellationError` if the task is cancelled. The mutation keeps its state.
    public func verdict(_ id: PendingMutation.ID, timeout: Duration? = nil) async throws -> Verdict {
        try await verdict(id, timeout: timeout, slice: 30_000)
    }

    /// Polls with waits of at most `slice` milliseconds: an engine call continues after its task is cancelled and
    /// retains the client, which without a network would be forever.
    func verdict(_ id: PendingMutation.ID, timeout: Duration?, slice: UInt32) async throws -> Verdict {
        try client.outsideOfTransaction()
        var rest = try timeout.map(milliseconds)
        while true {
            let now = min(rest ?? slice, slice)
            do {
                return Verdict(try await abandonable { [ffi = client.ffi] in try await ffi.verdict(id: id, timeoutMs: now) })
            } catch RejoinError.offline(let error) {
                // Waiting for a verdict is offline only by its timeout.
                rest = rest.map { $0 - now }
                if rest == 0 { throw RejoinError.offline(timeout.map { "no verdict within \($0)" } ?? error) }
            }
        }
    }
}
