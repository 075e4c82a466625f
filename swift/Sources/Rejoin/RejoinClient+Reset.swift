// Resets a file; docs/identity.md says when to use it.

import Foundation
internal import RejoinFFI

/// What a reset keeps.
public enum Keep: Sendable, Hashable {
    /// Keeps the queue, the history, the user and local-only tables. Synced rows are deleted, and the next sync fetches
    /// them again.
    case pending
    /// Keeps local-only tables. Rows, queue, history, device id and user are deleted, so that the next user can use the
    /// file.
    case local
    /// Keeps only the schema; all tables are emptied.
    case nothing
}

/// What a reset deleted.
public struct ResetReport: Sendable, Hashable {
    /// The discarded waiting and parked mutations, with all values that they wrote.
    public let givenUp: [PendingMutation]
    /// Number of deleted rows of synced tables, pending changes included.
    public let rows: Int
    /// Number of deleted rows of local-only tables.
    public let localRows: Int
}

extension RejoinClient {
    /// Resets the file; `keep` says what stays. The tables themselves stay, and watches continue.
    ///
    /// ```swift
    /// let waiting = try await client.pending()
    /// if await user.agrees(toLose: waiting) { try await client.reset(keep: .local, giveUp: waiting.map(\.id)) }
    /// ```
    ///
    /// Waiting mutations are the user's work and are deleted only if they are named. The reset is one transaction, also
    /// across a crash, and works offline. If syncing is on, the current pass ends and the next one asks the token
    /// provider again: sign the next user in first.
    ///
    /// - Parameter keep: what stays.
    /// - Parameter giveUp: the ids of all mutations of ``pending()``, parked ones included; none if the queue stays.
    /// - Throws: ``RejoinError/unsent(reason:waiting:)`` if a waiting mutation is not named, and
    ///   ``RejoinError/invalidInput(reason:)`` if mutations are named and the queue stays; nothing was changed.
    @discardableResult
    public func reset(keep: Keep, giveUp: [PendingMutation.ID] = []) async throws -> ResetReport {
        try outsideOfTransaction()
        return ResetReport(try await translated { try await ffi.reset(keep: keep.ffi, giveUp: giveUp) })
    }
}
