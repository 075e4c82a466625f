// The mutations that wait for the server, as values that an app can show, and their verdicts.

import Foundation
internal import RejoinFFI

/// A mutation that the server has not accepted: one transaction of the app.
public struct PendingMutation: Sendable, Hashable, Identifiable {
    /// Its position in the queue, ascending.
    public let seq: Int64
    /// Its id, here and on the server.
    public let id: String
    /// Its state.
    public let state: MutationState
    /// Why it is parked, if it is.
    public let reason: ParkReason?
    /// The server's message and, for a conflict, both rows, as JSON.
    public let detail: String?
    /// The parked mutation that it depends on, if that is why it is parked.
    public let becauseOf: String?
    /// While it waits: the earlier mutation that it depends on and that the server currently fails on.
    public let blockedBy: String?
    /// The action's name; `nil` for plain SQL.
    public let action: String?
    /// When it was written.
    public let written: Date
    /// The number of the attempt, from 1; increases when it is offered again after a verdict.
    public let attempt: Int
    /// Its changes, one entry per row, in the order of first change.
    public let rows: [PendingRow]
}

/// A local change to a row.
public struct PendingRow: Sendable, Hashable {
    /// The table's name.
    public let table: String
    /// The row's key.
    public let key: SQLValue
    /// The kind of change.
    public let operation: PatchKind
    /// All columns for an insert or a delete, the changed ones for an update.
    public let columns: [PendingColumn]
}

/// A local change to a column.
public struct PendingColumn: Sendable, Hashable {
    /// The column's name.
    public let name: String
    /// The value before; NULL for an insert.
    public let old: SQLValue
    /// The value written; NULL for a delete.
    public let new: SQLValue
}

/// The state of a local mutation.
public enum MutationState: Sendable, Hashable {
    /// Waiting to be sent.
    case pending
    /// Being sent.
    case sent
    /// Sent without a response; it is sent again unchanged.
    case uncertain
    /// Not accepted; kept with its reason until the app decides. Blocks nothing.
    case parked
}

/// Why a mutation is parked.
public enum ParkReason: Sendable, Hashable {
    /// The server rejected the content because of a rule.
    case rejected
    /// The server's row changed after the edit.
    case conflicted
    /// The server refused to evaluate it.
    case refused
    /// The action cannot run again.
    case unreplayable
    /// A mutation that it depends on was parked.
    case depends
    /// The remainder of a partly accepted mutation.
    case remainder
    /// The server failed on it too often or for too long.
    case serverFault
}

/// The kind of a change to a row.
public enum PatchKind: Sendable, Hashable {
    /// The row was inserted.
    case insert
    /// Columns were updated.
    case update
    /// The row was deleted.
    case delete
}

/// The number of mutations in each state.
public struct PendingCounts: Sendable, Hashable {
    /// Waiting to be sent.
    public let pending: Int
    /// Being sent.
    public let sent: Int
    /// Sent without a response.
    public let uncertain: Int
    /// Not accepted, waiting for the app's decision.
    public let parked: Int
}

/// The sync state of a row, to show beside it.
public enum RowSyncState: Sendable, Hashable {
    /// No local edit is waiting.
    case synced
    /// An edit waits to be sent.
    case pending
    /// An edit is being sent.
    case sent
    /// An edit was sent without a response; it is sent again.
    case uncertain
    /// An edit was not accepted and waits for the app's decision.
    case parked
}

/// The server's final answer on a mutation.
public enum Verdict: Sendable, Hashable {
    /// The server accepted it, and the rows show it.
    case accepted
    /// It was not accepted; it is kept with its reason and blocks nothing. `detail` has the server's message and, for a
    /// conflict, both rows, as JSON. ``RejoinClient/pending()`` has the rest.
    case parked(reason: ParkReason?, detail: String?)
    /// Neither waiting nor in the history: discarded, or never written on this device.
    case unknown
}

extension RejoinClient {
    /// Returns all mutations that the server has not accepted, in the order in which they were written.
    ///
    /// ```swift
    /// for mutation in try await client.pending() where mutation.state == .parked {
    ///     show(mutation.rows, because: mutation.detail)
    /// }
    /// ```
    ///
    /// Works offline and reads from the file, so the list is complete after a crash.
    public func pending() async throws -> [PendingMutation] {
        try outsideOfTransaction()
        return try await translated { try await ffi.pending() }.map(PendingMutation.init)
    }

    /// Returns the number of mutations in each state; cheap.
    public func pendingCounts() async throws -> PendingCounts {
        try outsideOfTransaction()
        return PendingCounts(try await translated { try await ffi.pendingCounts() })
    }

    /// Returns the sync state of a row. For a list use the SQL function `rejoin_row_state('table', id)` in the query.
    ///
    /// - Parameter table: the table's name.
    /// - Parameter key: the row's key.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if the table is not synced.
    public func rowSyncState(_ table: String, key: any SQLConvertible) async throws -> RowSyncState {
        try outsideOfTransaction()
        return RowSyncState(try await translated { try await ffi.rowSyncState(table: table, key: key.sqlValue.ffi) })
    }

    /// Discards a waiting or parked mutation: its writes are removed from the rows. If it was sent and has no verdict, it
    /// is also withdrawn from the server before anything else is sent.
    ///
    /// - Parameter id: the mutation's id, from ``pending()``.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if there is no mutation with this id, or it was sent, has no
    ///   verdict, and the server's version cannot withdraw it; nothing was changed.
    public func discard(_ id: PendingMutation.ID) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.discard(id: id) }
    }

    /// Waits until the server's verdict on a mutation has arrived and is visible. Starts syncing if it is stopped.
    ///
    /// - Parameter id: the mutation's id, from ``pending()``.
    /// - Parameter timeout: how long to wait; `nil` waits until there is a network.
    /// - Throws: ``RejoinError/offline(reason:)`` after the timeout, ``RejoinError/suspended(reason:)`` if the client
    ///   stays suspended for long, `CancellationError` if the task is cancelled. The mutation keeps its state.
    public func verdict(_ id: PendingMutation.ID, timeout: Duration? = nil) async throws -> Verdict {
        try await verdict(id, timeout: timeout, slice: 30_000)
    }

    /// Polls with waits of at most `slice` milliseconds: an engine call continues after its task is cancelled and retains
    /// the client, which without a network would be forever.
    func verdict(_ id: PendingMutation.ID, timeout: Duration?, slice: UInt32) async throws -> Verdict {
        try outsideOfTransaction()
        var rest = try timeout.map(milliseconds)
        while true {
            let now = min(rest ?? slice, slice)
            do {
                return Verdict(try await abandonable { [ffi] in try await ffi.verdict(id: id, timeoutMs: now) })
            } catch RejoinError.offline(let reason) {
                // Waiting for a verdict is offline only by its timeout.
                rest = rest.map { $0 - now }
                if rest == 0 { throw RejoinError.offline(reason: timeout.map { "no verdict within \($0)" } ?? reason) }
            }
        }
    }
}
