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
        let mailbox = Mailbox()
        let observer = ChangeBridge { mailbox.put($0) } end: { mailbox.end() }
        let reader = ChangeReader(mailbox, ffi.onChange(tables: tables, observer: observer))
        return AsyncStream {
            await reader.next()
        } onCancel: {
            reader.cancel()
        }
    }
}

/// A mailbox and what fills it; ends at the latest when nobody reads.
private final class ChangeReader: Sendable {
    private let mailbox: Mailbox
    private let subscription: Subscription

    init(_ mailbox: Mailbox, _ subscription: Subscription) {
        self.mailbox = mailbox
        self.subscription = subscription
    }

    deinit { cancel() }

    func next() async -> Change? { await mailbox.next() }

    func cancel() {
        subscription.cancel()
        mailbox.end()
    }
}

/// What waits for a reader, or the reader who waits. One reads at a time.
final class Mailbox: Sendable {
    /// So many changes are kept one by one for a reader that is busy.
    static let kept = 256

    private let state = Locked(State())

    private struct State {
        var waiting: [Change] = []
        var reader: CheckedContinuation<Change?, Never>?
        var isOver = false
    }

    func put(_ change: Change) {
        let reader = state.with { state -> CheckedContinuation<Change?, Never>? in
            guard !state.isOver else { return nil }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            state.waiting.append(change)
            if state.waiting.count > Self.kept { state.waiting = Self.merged(state.waiting) }
            return nil
        }
        reader?.resume(returning: change)
    }

    /// The next change; `nil` once it is over and all is read.
    func next() async -> Change? {
        await withCheckedContinuation { continuation in
            let (answer, replaced) = state.with { state -> (Change??, CheckedContinuation<Change?, Never>?) in
                if !state.waiting.isEmpty { return (.some(state.waiting.removeFirst()), nil) }
                if state.isOver { return (.some(nil), nil) }
                defer { state.reader = continuation }
                return (nil, state.reader)
            }
            // Two readers of one stream: the first gets nothing more.
            replaced?.resume(returning: nil)
            if let answer { continuation.resume(returning: answer) }
        }
    }

    func end() {
        let reader = state.with { state -> CheckedContinuation<Change?, Never>? in
            state.isOver = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }

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
