// What the server has accepted: to show it, to take it back, and to forget it.

import Foundation
internal import RejoinFFI

/// A mutation that the server has accepted.
public struct AcceptedMutation: Sendable, Hashable, Identifiable {
    /// Its place in the queue, when it was there.
    public let seq: Int64
    /// Its name, here and on the server.
    public let id: PendingMutation.ID
    /// The action's name; `nil` for plain SQL.
    public let action: String?
    /// When it was written.
    public let written: Date
    /// When its verdict came.
    public let accepted: Date
    /// The number of the attempt that was accepted, from 1.
    public let attempt: Int
    /// The mutation that it takes back, by undo or redo.
    public let undoes: PendingMutation.ID?
    /// What it did, a row each; the old values are those that it displaced on the server.
    public let rows: [PendingRow]
}

/// What became of an undo or a redo.
public enum Undone: Sendable, Hashable {
    /// The mutation had no verdict yet: it was given up, as by ``RejoinClient/discard(_:)``.
    case givenUp
    /// This mutation takes it back; it waits to be sent like any other.
    case by(PendingMutation.ID)
    /// There was nothing to take back: the server's rows were so already before it.
    case nothing
}

/// How much of what was accepted is kept. What is left out is as by default.
public struct HistoryBounds: Sendable, Hashable {
    /// Most mutations. Default 1,000.
    public var count: Int?
    /// Most bytes of what they wrote. Default 16 MiB.
    public var bytes: Int?
    /// How long, from the verdict on. A part of a second counts as a whole one. Default thirty days.
    public var age: Duration?

    /// - Parameter count: most mutations.
    /// - Parameter bytes: most bytes of what they wrote.
    /// - Parameter age: how long.
    public init(count: Int? = nil, bytes: Int? = nil, age: Duration? = nil) {
        self.count = count
        self.bytes = bytes
        self.age = age
    }
}

extension RejoinClient {
    /// What the server has accepted and the file still remembers, the newest first.
    ///
    /// - Parameter most: so many at most.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a number below zero.
    public func history(_ most: Int = 100) async throws -> [AcceptedMutation] {
        try outsideOfTransaction()
        let most = try number(most, "most")
        return try await translated { try await ffi.history(most: most) }.map(AcceptedMutation.init)
    }

    /// Takes a mutation back. One without a verdict is given up, as by ``discard(_:)``; of an accepted one each column goes back to what
    /// it displaced on the server, by a new mutation, which is only ever compared. Works offline. All of it, or nothing.
    ///
    /// ```swift
    /// do {
    ///     try await client.undo(last.id)
    /// } catch RejoinError.changed(_, let rows) {
    ///     show(rows)
    /// }
    /// ```
    ///
    /// - Parameter id: its name, from ``pending()`` or ``history(_:)``.
    /// - Throws: ``RejoinError/changed(reason:rows:)`` if any of it does not stand any more; ``RejoinError/invalidInput(reason:)`` if the
    ///   file has forgotten it, and for a parked one, of which nothing is in the rows. Nothing was changed then.
    @discardableResult
    public func undo(_ id: PendingMutation.ID) async throws -> Undone {
        try outsideOfTransaction()
        return Undone(try await translated { try await ffi.undo(id: id) })
    }

    /// Takes the undo of a mutation back.
    ///
    /// - Parameter id: the one that was undone.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if it was not undone, or is done again already; else as ``undo(_:)``.
    @discardableResult
    public func redo(_ id: PendingMutation.ID) async throws -> Undone {
        try outsideOfTransaction()
        return Undone(try await translated { try await ffi.redo(id: id) })
    }

    /// Forgets what was accepted beyond these bounds, at once. It cannot be undone any more. Without a call the default bounds are kept
    /// whenever something is accepted.
    ///
    /// - Returns: how many mutations were forgotten.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a bound below zero.
    @discardableResult
    public func prune(_ bounds: HistoryBounds) async throws -> Int {
        try outsideOfTransaction()
        let bounds = try bounds.ffi()
        return Int(try await translated { try await ffi.prune(bounds: bounds) })
    }
}
