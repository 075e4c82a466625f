// The accepted mutations: list, undo, redo and prune.

import Foundation
internal import RejoinFFI

/// A mutation that the server has accepted.
public struct AcceptedMutation: Sendable, Hashable, Identifiable {
    /// Its former position in the queue; 0 for an entry of the log.
    public let seq: Int64
    /// Its id, here and on the server.
    public let id: PendingMutation.ID
    /// The action's name; `nil` for plain SQL.
    public let action: String?
    /// When it was written.
    public let written: Date
    /// When its verdict arrived. For an entry of the log whose verdict the app has acknowledged:
    /// when it was written.
    public let accepted: Date
    /// The number of the accepted attempt, from 1.
    public let attempt: Int
    /// The mutation that this one reverts, if it is an undo or a redo.
    public let undoes: PendingMutation.ID?
    /// Its changes, one entry per row; old values are the server's values that it replaced.
    public let rows: [PendingRow]
}

/// The result of an undo or a redo.
public enum Undone: Sendable, Hashable {
    /// The mutation had no verdict yet and was discarded, as by ``QueueHandle/discard(_:)``.
    case givenUp
    /// This new mutation reverts it and waits to be sent.
    case newMutation(PendingMutation.ID)
    /// Nothing to revert: the server's rows already had these values before.
    case nothing
}

/// Limits of the history; `nil` means the default.
public struct HistoryBounds: Sendable, Hashable {
    /// Maximum number of mutations. Default 1,000.
    public var count: Int?
    /// Maximum size of their writes. Default 16 MiB.
    public var bytes: Int?
    /// Maximum age since the verdict, rounded up to whole seconds. Default 30 days.
    public var age: Duration?

    /// - Parameter count: maximum number of mutations.
    /// - Parameter bytes: maximum size of their writes.
    /// - Parameter age: maximum age.
    public init(count: Int? = nil, bytes: Int? = nil, age: Duration? = nil) {
        self.count = count
        self.bytes = bytes
        self.age = age
    }
}

extension QueueHandle {
    /// Returns the accepted mutations that are still in the history, newest first. Accepted entries
    /// of the log are listed until they are folded into the base.
    ///
    /// - Parameter limit: maximum number of mutations.
    /// - Throws: ``RejoinError/invalidInput(_:)`` for a negative number.
    public func history(_ limit: Int = 100) async throws -> [AcceptedMutation] {
        let limit = try number(limit, "limit")
        return try await client.callEngine { try await $0.history(limit: limit) }.map(AcceptedMutation.init)
    }

    /// Undoes a mutation. Without a verdict it is discarded, as by ``discard(_:)``. If it was accepted, a new
    /// compare-only mutation restores the server's previous value of each column. Works offline and is atomic.
    ///
    /// ```swift
    /// do {
    ///     try await client.queue.undo(last.id)
    /// } catch RejoinError.changed(let refused) {
    ///     show(refused.rows)
    /// }
    /// ```
    ///
    /// - Parameter id: the mutation's id, from ``all()`` or ``history(_:)``.
    /// - Throws: ``RejoinError/changed(_:)`` if any of its rows was changed since;
    ///   ``RejoinError/invalidInput(_:)`` if it is no longer in the history, or is parked (a parked mutation has no
    ///   effect on rows). Then nothing was changed.
    @discardableResult
    public func undo(_ id: PendingMutation.ID) async throws -> Undone {
        Undone(try await client.callEngine { try await $0.undo(id: id) })
    }

    /// Reverts the undo of a mutation.
    ///
    /// - Parameter id: the mutation that was undone.
    /// - Throws: ``RejoinError/invalidInput(_:)`` if it was not undone or was already redone; otherwise as
    ///   ``undo(_:)``.
    @discardableResult
    public func redo(_ id: PendingMutation.ID) async throws -> Undone {
        Undone(try await client.callEngine { try await $0.redo(id: id) })
    }

    /// Deletes history entries beyond these limits at once; they can no longer be undone. Without this call the default
    /// limits are applied after each verdict.
    ///
    /// - Returns: the number of deleted entries.
    /// - Throws: ``RejoinError/invalidInput(_:)`` for a negative limit.
    @discardableResult
    public func prune(_ bounds: HistoryBounds) async throws -> Int {
        let bounds = try bounds.ffi()
        return Int(try await client.callEngine { try await $0.prune(bounds: bounds) })
    }
}
