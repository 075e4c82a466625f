// The app's decisions about parked and waiting mutations. Everything works offline and is in the file when the call
// returns. docs/verdicts.md explains the choices.

import Foundation
internal import RejoinFFI

extension RejoinClient {
    /// Retries a parked mutation unchanged: it moves to the end of the queue, its rows show it at once, and it is
    /// compared with the current values. This resolves a conflict in favour of the mutation.
    ///
    /// - Parameter id: the mutation's id, from ``pending()``.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if there is no mutation with this id, or it is not parked;
    ///   ``RejoinError/standsOn(reason:id:)`` while the mutation that creates its row is parked. Then nothing was
    ///   changed.
    public func retry(_ id: PendingMutation.ID) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.retry(id: id) }
    }

    /// Retries a mutation, if it is parked, and all mutations parked because of it.
    ///
    /// - Returns: their ids, in order.
    /// - Throws: as ``retry(_:)``.
    @discardableResult
    public func retryChain(_ id: PendingMutation.ID) async throws -> [PendingMutation.ID] {
        try outsideOfTransaction()
        return try await translated { try await ffi.retryChain(id: id) }
    }

    /// Replaces a parked or waiting mutation: `body` runs on the current rows with the mutation's writes applied. For
    /// actions prefer ``performAgain(_:_:)``.
    ///
    /// ```swift
    /// let edited = try await client.edit(parked.id) { tx in
    ///     try await tx.execute("UPDATE task SET title = ? WHERE id = ?", ["shorter", "a"])
    /// }
    /// ```
    ///
    /// The result is a new plain SQL mutation at the end of the queue that replaces the old one. Mutations parked because
    /// of the old one now wait for the new one: pass its id to ``retryChain(_:)`` to retry them. The body follows the
    /// rules of ``transaction(isolation:_:)``.
    ///
    /// - Parameter isolation: the actor that `body` runs on; the caller's.
    /// - Parameter body: the change; not kept beyond the call.
    /// - Returns: the new mutation's id; `nil` if no change is left.
    /// - Throws: as ``transaction(isolation:_:)``, and ``RejoinError/invalidInput(reason:)`` if there is no mutation with
    ///   this id or the server cannot withdraw what was sent. Then nothing was changed.
    @discardableResult
    public func edit(
        _ id: PendingMutation.ID, isolation: isolated (any Actor)? = #isolation, _ body: (Transaction) async throws -> Void
    ) async throws -> PendingMutation.ID? {
        try outsideOfTransaction()
        let held = try await abandonable { [ffi] in try await ffi.beginEdit(id: id) }
        try await ending(held, body)
        return held.edited()
    }

    /// As ``edit(_:isolation:_:)``, with independent statements, which is faster.
    ///
    /// - Throws: as ``batch(_:)`` and ``edit(_:isolation:_:)``.
    @discardableResult
    public func edit(_ id: PendingMutation.ID, _ statements: [Statement]) async throws -> PendingMutation.ID? {
        try outsideOfTransaction()
        return try await translated { try await ffi.edit(id: id, statements: statements.map(\.ffi)) }
    }

    /// Discards a mutation and all mutations that depend on a row that it created.
    ///
    /// - Returns: their ids, the given one first.
    /// - Throws: as ``discard(_:)``.
    @discardableResult
    public func discardChain(_ id: PendingMutation.ID) async throws -> [PendingMutation.ID] {
        try outsideOfTransaction()
        return try await translated { try await ffi.discardChain(id: id) }
    }
}
