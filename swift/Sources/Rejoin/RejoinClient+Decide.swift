// What an app decides of a mutation that is parked or waits. Nothing of this needs a network; all of it is in the file when the call
// returns. What it means stands in docs/verdicts.md.

import Foundation
internal import RejoinFFI

extension RejoinClient {
    /// Offers a parked mutation again, as it was written: it goes to the end of the queue, its rows show it at once, and what it
    /// compares is what stands there now. So a conflict that the app has looked at ends by its word.
    ///
    /// - Parameter id: its name, from ``pending()``.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if there is none of this name, or it is not parked;
    ///   ``RejoinError/standsOn(reason:id:)`` while the mutation that makes its row is parked. Nothing was changed then.
    public func retry(_ id: PendingMutation.ID) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.retry(id: id) }
    }

    /// ``retry(_:)`` of a mutation, if it is parked, and of everything that was parked because of it.
    ///
    /// - Returns: which they are, in their order.
    /// - Throws: as ``retry(_:)`` does.
    @discardableResult
    public func retryChain(_ id: PendingMutation.ID) async throws -> [PendingMutation.ID] {
        try outsideOfTransaction()
        return try await translated { try await ffi.retryChain(id: id) }
    }

    /// Mends a parked or waiting mutation: `body` finds what it wrote in the rows, on top of how they stand now, and changes it. An
    /// action is better mended by ``performAgain(_:_:)``.
    ///
    /// ```swift
    /// let mended = try await client.edit(parked.id) { tx in
    ///     try await tx.execute("UPDATE task SET title = ? WHERE id = ?", ["shorter", "a"])
    /// }
    /// ```
    ///
    /// What comes out is a new mutation of plain SQL at the end of the queue, in the place of the old one. What was parked because of
    /// the old one now waits for the new one: ``retryChain(_:)`` with the new name offers that again. Inside holds what holds inside
    /// of ``transaction(isolation:_:)``.
    ///
    /// - Parameter isolation: the actor that `body` runs on; the caller's.
    /// - Parameter body: what to change; not kept beyond the call.
    /// - Returns: the new mutation's name; `nil` if nothing is left to write.
    /// - Throws: as ``transaction(isolation:_:)`` does, and ``RejoinError/invalidInput(reason:)`` if there is no mutation of this name, or
    ///   the server cannot withdraw one that was sent to it. Nothing was changed then.
    @discardableResult
    public func edit(
        _ id: PendingMutation.ID, isolation: isolated (any Actor)? = #isolation, _ body: (Transaction) async throws -> Void
    ) async throws -> PendingMutation.ID? {
        try outsideOfTransaction()
        let held = try await abandonable { [ffi] in try await ffi.beginEdit(id: id) }
        try await ending(held, body)
        return held.edited()
    }

    /// ``edit(_:isolation:_:)`` by statements that depend on nothing in between, which is faster.
    ///
    /// - Throws: as ``batch(_:)`` and ``edit(_:isolation:_:)`` do.
    @discardableResult
    public func edit(_ id: PendingMutation.ID, _ statements: [Statement]) async throws -> PendingMutation.ID? {
        try outsideOfTransaction()
        return try await translated { try await ffi.edit(id: id, statements: statements.map(\.ffi)) }
    }

    /// ``discard(_:)`` of a mutation and of everything that stands on a row that it made, parked before or only by this.
    ///
    /// - Returns: which they are, it first.
    /// - Throws: as ``discard(_:)`` does.
    @discardableResult
    public func discardChain(_ id: PendingMutation.ID) async throws -> [PendingMutation.ID] {
        try outsideOfTransaction()
        return try await translated { try await ffi.discardChain(id: id) }
    }
}
