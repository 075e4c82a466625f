// The status of syncing, and the result of one sync.

import Foundation

/// The sync status.
public struct SyncStatus: Sendable, Hashable {
    /// The current state.
    public let state: SyncState
    /// Whether the tables have ever been complete.
    public let firstSync: FirstSync
    /// Tables of the server, and rules and indexes, that this device has left out of its schema. The others are synced.
    ///
    /// A name that the app uses itself is adopted by the next sync after the app drops or renames its own object.
    /// Also the app's triggers that failed on rows of the server, until the app drops or replaces them.
    public let leftOut: [LeftOutPart]

    /// A status, for tests of an app.
    public init(state: SyncState, firstSync: FirstSync, leftOut: [LeftOutPart] = []) {
        self.state = state
        self.firstSync = firstSync
        self.leftOut = leftOut
    }
}

/// A table of the server, or a part of one, that this device has left out of its schema.
public struct LeftOutPart: Sendable, Hashable {
    /// The table.
    public let table: String
    /// What of it: `table`, or `index NAME`, `CHECK NAME`, `trigger NAME` and the like.
    public let part: String
    /// Why, and the remedy.
    public let reason: String

    /// A part, for tests of an app.
    public init(table: String, part: String, reason: String) {
        self.table = table
        self.part = part
        self.reason = reason
    }
}

/// What syncing is doing; local work continues in every state except ``suspended``.
public enum SyncState: Sendable, Hashable {
    /// Not started yet.
    case idle
    /// A sync pass has started, or follows ``SyncHandle/resume()``.
    case connecting
    /// Local mutations are being sent.
    case pushing
    /// Remote rows are being fetched and applied: the number applied in this pass, the total if the server returned it,
    /// and the rate.
    case applying(done: Int, total: Int?, rowsPerSecond: Int)
    /// The server is temporarily unavailable; the next attempt is at this time.
    case waiting(at: Date, reason: String)
    /// No server is reachable. `retryAt` is `nil` while the device reports no network.
    case offline(retryAt: Date?, reason: String)
    /// The network is metered, and the policy defers the remaining work.
    case metered
    /// Credentials are missing or rejected; the queue waits for new ones.
    case needsAuth
    /// The server requires a newer version of the app, with its message; the queue waits.
    case upgradeRequired(reason: String)
    /// An error that a quick retry does not fix; it is retried nevertheless.
    case failed(reason: String, retryAt: Date)
    /// The last pass, which ended at this time, pushed and pulled everything. After ``SyncHandle/resume()``, only a
    /// pass that began after it sets this state. Later writes and remote changes wait for the next pass;
    /// ``SyncHandle/run(timeout:)`` waits for one.
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

/// The result of a check of this device's rows against the server's; from ``SyncHandle/doctor(timeout:)``.
public struct DoctorReport: Sendable, Hashable {
    /// Every synced table that the server has, by name.
    public let tables: [TableCheck]
}

/// The result of a check for one table.
public struct TableCheck: Sendable, Hashable {
    /// Its name.
    public let table: String
    /// Number of its rows on this device.
    public let rows: Int
    /// Number of rows that were wrong here: missing, present without the server having them, or with other values.
    /// Pending edits are not counted.
    public let differing: Int
    /// How many of these now have the server's content.
    public let repaired: Int
}

/// The result of a sync.
public struct SyncReport: Sendable, Hashable {
    /// Number of mutations that the server accepted.
    public let accepted: Int
    /// Number of mutations that were parked; ``QueueHandle/parked()`` has the reasons.
    public let parked: Int
    /// Number of rows received.
    public let pulled: Int
    /// Number of mutations without a verdict: the server asked to retry later, or they were written during the sync.
    public let stillPending: Int
}
