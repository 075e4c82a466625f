// Commits, as they touch tables.
//
// Promise: a slow reader hears of everything that was touched, but in fewer words: beyond a limit, changes are told together, and
// then of tables without keys. So nothing piles up.

import Foundation
internal import RejoinFFI

/// The tables that one commit touched, or several that came while the reader was busy.
public struct Change: Sendable, Hashable {
    /// Who wrote.
    public let origin: ChangeOrigin
    /// What was touched: the keys of the rows by table. `nil` where only the table is known, as for the app's own tables.
    /// `sqlite_schema` is among them when the app changed the schema.
    public private(set) var tables: [String: [SQLValue]?]
    /// Whether the queue, or the sync state of any row, changed.
    public private(set) var queue: Bool

    init(origin: ChangeOrigin, tables: [String: [SQLValue]?], queue: Bool) {
        self.origin = origin
        self.tables = tables
        self.queue = queue
    }

    /// Takes in what another one says of tables, and forgets keys.
    mutating func merge(_ other: Change) {
        queue = queue || other.queue
        tables = tables.merging(other.tables) { _, _ in nil }.mapValues { _ in nil }
    }
}

/// Who wrote.
public enum ChangeOrigin: Sendable, Hashable {
    /// The app, on this device.
    case local
    /// The server.
    case remote
}

extension RejoinClient {
    /// Each commit that touches one of the tables, or any if none is named, from this call on until the client is shut down.
    ///
    /// ```swift
    /// for await change in client.changes(["task"]) where change.origin == .remote {
    ///     notify(change.tables["task"])
    /// }
    /// ```
    ///
    /// For showing data use ``watch(_:_:as:)``, which runs the query. A reader that lags far behind gets changes together, and
    /// then without keys. Leaving the loop, and cancelling its task, end it.
    ///
    /// - Parameter tables: names, in any case.
    public func changes(_ tables: [String] = []) -> AsyncStream<Change> {
        let mailbox = Change.mailbox()
        let observer = ChangeBridge { mailbox.put($0) } end: { mailbox.end() }
        let reader = MailReader(mailbox, ffi.onChange(tables: tables, observer: observer))
        return AsyncStream {
            await reader.next()
        } onCancel: {
            reader.cancel()
        }
    }
}

extension Change {
    /// So many changes are kept one by one for a reader that is busy.
    static let kept = 256

    static func mailbox() -> Mailbox<Change> { Mailbox { $0.count > kept ? merged($0) : $0 } }

    /// One change for each who wrote.
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
