// What waits for the server, in words that an app can show, and how it ended.

import Foundation
internal import RejoinFFI

/// A local write that the server has not accepted: one transaction of the app.
public struct PendingMutation: Sendable, Hashable, Identifiable {
    /// Its place in the queue; rises.
    public let seq: Int64
    /// Its name, here and on the server.
    public let id: String
    /// Where it stands.
    public let state: MutationState
    /// Why it is parked, if it is.
    public let reason: ParkReason?
    /// The server's words, and both rows of a conflict, as JSON.
    public let detail: String?
    /// The parked one that it stands on, if that is why it is parked.
    public let becauseOf: String?
    /// While it waits: the earlier one that must be accepted before it and that the server fails on at present.
    public let blockedBy: String?
    /// The action's name; nothing for plain SQL.
    public let action: String?
    /// When it was written.
    public let written: Date
    /// The number of the attempt that its content is in, from 1: a new one begins where the server judged the last and it is offered
    /// anew.
    public let attempt: Int
    /// What it wrote, a row each, in the order of first touch.
    public let rows: [PendingRow]
}

/// What a local write did to a row.
public struct PendingRow: Sendable, Hashable {
    /// The table's name.
    public let table: String
    /// The row's key.
    public let key: SQLValue
    /// What was done.
    public let operation: PatchKind
    /// All columns for an insert or a delete, the changed ones for an update.
    public let columns: [PendingColumn]
}

/// What a local write did to a column.
public struct PendingColumn: Sendable, Hashable {
    /// The column's name.
    public let name: String
    /// What stood there; NULL in an insert.
    public let old: SQLValue
    /// What was written; NULL in a delete.
    public let new: SQLValue
}

/// Where a local write stands.
public enum MutationState: Sendable, Hashable {
    /// Waits to be sent.
    case pending
    /// On its way.
    case sent
    /// Sent, and no answer came; it will be sent again as it is.
    case uncertain
    /// Ended without being accepted; kept with its reason, blocks nothing.
    case parked
}

/// Why a local write is parked.
public enum ParkReason: Sendable, Hashable {
    /// A rule of the server refuses the content.
    case rejected
    /// A row has changed since.
    case conflicted
    /// The server will not look at it.
    case refused
    /// An action cannot run again.
    case unreplayable
    /// Something that it stands on was parked.
    case depends
    /// What is left of one that was accepted in part.
    case remainder
    /// The server has failed on it too often, or for too long.
    case serverFault
}

/// What was done to a row.
public enum PatchKind: Sendable, Hashable {
    /// It was made.
    case insert
    /// Columns were changed.
    case update
    /// It was removed.
    case delete
}

/// How many local writes stand where.
public struct PendingCounts: Sendable, Hashable {
    /// Waiting to be sent.
    public let pending: Int
    /// On their way.
    public let sent: Int
    /// Sent, without an answer.
    public let uncertain: Int
    /// Not accepted; the app's to decide.
    public let parked: Int
}

/// What an app can show beside a row.
public enum RowSyncState: Sendable, Hashable {
    /// Nothing of this device waits on it.
    case synced
    /// An edit waits to be sent.
    case pending
    /// An edit is on its way.
    case sent
    /// An edit was sent and no answer came; it will be sent again.
    case uncertain
    /// An edit was not accepted, and the app has not decided yet what becomes of it.
    case parked
}

/// How a local write ended.
public enum Verdict: Sendable, Hashable {
    /// The server has it, and the rows show it.
    case accepted
    /// It was not accepted; it is kept with its reason, and blocks nothing. `detail` is the server's words, and both rows of a
    /// conflict, as JSON; ``RejoinClient/pending()`` has the rest of it.
    case parked(reason: ParkReason?, detail: String?)
    /// It is neither waiting nor known as accepted: discarded, or never written here.
    case unknown
}

extension RejoinClient {
    /// Everything that the server has not accepted, in the order in which it was written.
    ///
    /// ```swift
    /// for mutation in try await client.pending() where mutation.state == .parked {
    ///     show(mutation.rows, because: mutation.detail)
    /// }
    /// ```
    ///
    /// Works offline, and tells what is in the file: nothing is missing after a crash.
    public func pending() async throws -> [PendingMutation] {
        try outsideOfTransaction()
        return try await translated { try await ffi.pending() }.map(PendingMutation.init)
    }

    /// How many local writes stand where; cheap.
    public func pendingCounts() async throws -> PendingCounts {
        try outsideOfTransaction()
        return PendingCounts(try await translated { try await ffi.pendingCounts() })
    }

    /// What an app can show beside a row. For a whole list use the SQL function `rejoin_row_state('table', id)` in the query.
    ///
    /// - Parameter table: the table's name.
    /// - Parameter key: the row's key.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if the table is not synced.
    public func rowSyncState(_ table: String, key: any SQLConvertible) async throws -> RowSyncState {
        try outsideOfTransaction()
        return RowSyncState(try await translated { try await ffi.rowSyncState(table: table, key: key.sqlValue.ffi) })
    }

    /// Gives a waiting or parked write up for good: what it wrote leaves the rows. One that was sent and has no verdict goes too, and
    /// is withdrawn from the server before anything else is sent to it.
    ///
    /// - Parameter id: its name, from ``pending()``.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if there is none of this name, and for one that was sent to a server of an older
    ///   release, which withdraws nothing; nothing was changed then.
    public func discard(_ id: PendingMutation.ID) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.discard(id: id) }
    }

    /// Waits until the server's verdict on a local write is here, and visible. Starts syncing if it was not started.
    ///
    /// - Parameter id: its name, from ``pending()``.
    /// - Parameter timeout: how long to wait; `nil` for as long as it takes a network to come.
    /// - Throws: ``RejoinError/offline(reason:)`` after the timeout, ``RejoinError/suspended(reason:)`` if the client stays suspended
    ///   for long meanwhile, `CancellationError` when the task is cancelled. The write stays where it is.
    public func verdict(_ id: PendingMutation.ID, timeout: Duration? = nil) async throws -> Verdict {
        try await verdict(id, timeout: timeout, slice: 30_000)
    }

    /// Asks again and again, for at most `slice` milliseconds each: what a cancelled task has asked for goes on to its end and holds
    /// the client, which would be for ever where no network comes.
    func verdict(_ id: PendingMutation.ID, timeout: Duration?, slice: UInt32) async throws -> Verdict {
        try outsideOfTransaction()
        var rest = try timeout.map(milliseconds)
        while true {
            let now = min(rest ?? slice, slice)
            do {
                return Verdict(try await abandonable { [ffi] in try await ffi.verdict(id: id, timeoutMs: now) })
            } catch RejoinError.offline(let reason) {
                // Waiting for a verdict is offline by its timeout only.
                rest = rest.map { $0 - now }
                if rest == 0 { throw RejoinError.offline(reason: timeout.map { "no verdict within \($0)" } ?? reason) }
            }
        }
    }
}
