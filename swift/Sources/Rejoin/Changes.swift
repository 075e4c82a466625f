// The tables that commits changed.
//
// A slow reader misses no table: beyond a limit, changes are merged and keys are dropped, so memory stays bounded.

import Foundation
internal import RejoinFFI

/// The tables changed by one commit, or by several commits that happened while the reader was busy.
public struct Change: Sendable, Hashable {
    /// The origin of the change.
    public let origin: ChangeOrigin
    /// The keys of the changed rows by table, including `sqlite_schema` if the app changed the schema. `nil` if only
    /// the table is known, as for local-only tables.
    public private(set) var tables: [String: [SQLValue]?]
    /// Whether the queue or the sync state of a row changed.
    public private(set) var queue: Bool

    /// A change, for tests of an app.
    public init(origin: ChangeOrigin, tables: [String: [SQLValue]?], queue: Bool = false) {
        self.origin = origin
        self.tables = tables
        self.queue = queue
    }

    /// Merges the tables of another change and drops keys.
    mutating func merge(_ other: Change) {
        queue = queue || other.queue
        tables = tables.merging(other.tables) { _, _ in nil }.mapValues { _ in nil }
    }
}

/// The origin of a change.
public enum ChangeOrigin: Sendable, Hashable {
    /// The app, on this device.
    case local
    /// The server.
    case remote
}

extension RejoinClient {
    /// The changes of each commit from this call on until the client is shut down, limited to commits that change one
    /// of the tables if any are given.
    ///
    /// ```swift
    /// for await change in client.changes(["task"]) where change.origin == .remote {
    ///     notify(change.tables["task"])
    /// }
    /// ```
    ///
    /// To show data use ``watch(_:_:)``, which runs the query. A slow reader gets merged changes, beyond a limit
    /// without keys. Leaving the loop or cancelling its task ends the stream.
    ///
    /// - Parameter tables: table names, in any case.
    public func changes(_ tables: [String]) -> AsyncStream<Change> {
        let mailbox = Change.mailbox()
        let observer = ChangeBridge {
            mailbox.put($0)
        } end: {
            mailbox.end()
        }
        let reader = MailReader(mailbox, ffi.onChange(tables: tables, observer: observer))
        return AsyncStream {
            await reader.next()
        } onCancel: {
            reader.cancel()
        }
    }
}

extension Change {
    /// Number of changes kept separately for a busy reader.
    static let kept = 256

    static func mailbox() -> Mailbox<Change> { Mailbox { $0.count > kept ? merged($0) : $0 } }

    /// Merges changes to one per origin.
    private static func merged(_ changes: [Change]) -> [Change] {
        var merged: [Change] = []
        for change in changes {
            guard let place = merged.firstIndex(where: { $0.origin == change.origin }) else {
                merged.append(change)
                continue
            }
            merged[place].merge(change)
        }
        return merged
    }
}
