// The mutations that wait for the server, as values that an app can show.

import Foundation

/// A mutation that the server has not accepted: one transaction of the app.
public struct PendingMutation: Sendable, Hashable, Identifiable {
    /// Its position in the queue, ascending; 0 for an entry of the log.
    public let seq: Int64
    /// Its id, here and on the server.
    public let id: String
    /// Its state.
    public let state: MutationState
    /// Why it is parked, if it is.
    public let reason: ParkReason?
    /// The server's message and, for a conflict, both versions of each row.
    public let detail: VerdictDetail?
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
    case partlyAccepted
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
    /// conflict, both versions of each row. ``QueueHandle/all()`` has the rest.
    case parked(reason: ParkReason?, detail: VerdictDetail?)
    /// Neither waiting nor in the history: discarded, or never written on this device.
    case unknown
}
