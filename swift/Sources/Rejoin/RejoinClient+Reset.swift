// Beginning anew in the same file; docs/identity.md says when.

import Foundation
internal import RejoinFFI

/// What stays in the file when it begins anew.
public enum Keep: Sendable, Hashable {
    /// Everything that is not the server's: what waits, the history, the user, local-only tables. The rows of the server go, and the
    /// next sync fetches them as the first one did.
    case pending
    /// Local-only tables. Rows, queue, history, the device's id and its user go: the file is the next user's to take.
    case local
    /// The tables, all of them empty, and their schema.
    case nothing
}

/// What a reset took away, for whoever has to show it or to keep it elsewhere.
public struct ResetReport: Sendable, Hashable {
    /// What waited for the server or was parked, and went: all that the app had named, with every value that was written.
    public let givenUp: [PendingMutation]
    /// Rows of synced tables that went, with what waited on them.
    public let rows: Int
    /// Rows of local-only tables that went.
    public let localRows: Int
}

extension RejoinClient {
    /// Begins anew in the same file: `keep` says what stays; the tables do in any case, and watches go on over them.
    ///
    /// ```swift
    /// let waiting = try await client.pending()
    /// if await user.agrees(toLose: waiting) { try await client.reset(keep: .local, giveUp: waiting.map(\.id)) }
    /// ```
    ///
    /// What waits for the server is the user's work, and goes only by name. One transaction, also before a crash; works offline. If
    /// syncing is on, its pass ends, and the next one begins with what the token provider then gives: tell it of the next user before.
    ///
    /// - Parameter keep: what stays.
    /// - Parameter giveUp: every mutation of ``pending()``, parked ones too, unless the queue stays.
    /// - Throws: ``RejoinError/unsent(reason:waiting:)`` if something waits that is not named, and ``RejoinError/invalidInput(reason:)`` if
    ///   something is named and the queue stays: nothing was changed then.
    @discardableResult
    public func reset(keep: Keep, giveUp: [PendingMutation.ID] = []) async throws -> ResetReport {
        try outsideOfTransaction()
        return ResetReport(try await translated { try await ffi.reset(keep: keep.ffi, giveUp: giveUp) })
    }
}
