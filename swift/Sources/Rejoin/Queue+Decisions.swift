// The app's decisions about parked and waiting mutations. Everything works offline and is in the file when the call
// returns. docs/verdicts.md explains the choices.

import Foundation
internal import RejoinFFI

extension QueueHandle {
    /// Retries a parked mutation unchanged: it moves to the end of the queue, its rows show it at once, and it is
    /// compared with the current values. This resolves a conflict in favour of the mutation.
    ///
    /// - Parameter id: the mutation's id, from ``all()``.
    /// - Throws: ``RejoinError/invalidInput(_:)`` if there is no mutation with this id, or it is not parked;
    ///   ``RejoinError/parentParked(_:)`` while the mutation that creates its row is parked. Then nothing was
    ///   changed.
    public func retry(_ id: PendingMutation.ID) async throws {
        try await client.callEngine { try await $0.retry(id: id) }
    }

    /// Retries a mutation, if it is parked, and all mutations parked because of it.
    ///
    /// - Returns: their ids, in order.
    /// - Throws: as ``retry(_:)``.
    @discardableResult
    public func retryChain(_ id: PendingMutation.ID) async throws -> [PendingMutation.ID] {
        try await client.callEngine { try await $0.retryChain(id: id) }
    }

    /// Replaces a parked or waiting mutation: `body` runs on the current rows with the mutation's writes applied. For
    /// actions prefer ``performAgain(_:_:)-4pqui``.
    ///
    /// ```swift
    /// let edited = try await client.queue.edit(parked.id) { tx in
    ///     try await tx.execute("UPDATE task SET title = ? WHERE id = ?", ["shorter", "a"])
    /// }
    /// ```
    ///
    /// The result is a new plain SQL mutation at the end of the queue that replaces the old one. Mutations parked
    /// because of the old one now wait for the new one: pass its id to ``retryChain(_:)`` to retry them. The body
    /// follows the rules of ``RejoinClient/transaction(isolation:_:)``.
    ///
    /// - Parameter id: the mutation's id, from ``all()``.
    /// - Parameter isolation: the actor that `body` runs on; the caller's.
    /// - Parameter body: the change; not kept beyond the call.
    /// - Returns: the new mutation's id; `nil` if no change is left.
    /// - Throws: as ``RejoinClient/transaction(isolation:_:)``, and ``RejoinError/invalidInput(_:)`` if there is no
    ///   mutation with this id or the server cannot withdraw what was sent. Then nothing was changed.
    @discardableResult
    public func edit(
        _ id: PendingMutation.ID, isolation: isolated (any Actor)? = #isolation, _ body: (WriteTransaction) async throws -> Void
    ) async throws -> PendingMutation.ID? {
        try client.outsideOfTransaction()
        let held = try await abandonable { [ffi = client.ffi] in try await ffi.beginEdit(id: id) }
        try await client.ending(held, body)
        return held.edited()
    }

    /// As ``edit(_:isolation:_:)``, with independent statements, which is faster.
    ///
    /// - Throws: as ``RejoinClient/batch(_:)`` and ``edit(_:isolation:_:)``.
    @discardableResult
    public func edit(_ id: PendingMutation.ID, _ statements: [Statement]) async throws -> PendingMutation.ID? {
        try await client.callEngine { try await $0.edit(id: id, statements: statements.map(\.ffi)) }
    }

    /// Replaces a parked or waiting action: its writes are removed from the rows, and the newest version of the action
    /// is performed with these arguments on the current rows. The result is a new mutation at the end of the queue;
    /// there is none if nothing is written. The replacement is atomic, also across a crash.
    ///
    /// ```swift
    /// let replaced = try await client.queue.performAgain(parked.id, ["id": "nails", "n": 1])
    /// if let id = replaced.id { try await client.queue.retryChain(id) }
    /// ```
    ///
    /// Works offline. Mutations parked because of the old one now wait for the new one: pass its id to
    /// ``retryChain(_:)`` to retry them. Cancelling the task has no effect, as in ``RejoinDatabase/perform(_:_:)-8a5v5``.
    ///
    /// - Parameter id: the mutation's id, from ``all()``.
    /// - Parameter arguments: all arguments of the action, as for ``RejoinDatabase/perform(_:_:)-8a5v5``.
    /// - Throws: as ``RejoinDatabase/perform(_:_:)-8a5v5``, and ``RejoinError/invalidInput(_:)`` if there is no mutation with
    ///   this id, it is not an action, or the server cannot withdraw what was sent. Then nothing was changed.
    @discardableResult
    public func performAgain(_ id: PendingMutation.ID, _ arguments: ActionArguments = [:]) async throws -> Performed {
        try await performAgain(id, json: JSONText(arguments).text)
    }

    /// As ``performAgain(_:_:)-4pqui``, with arguments of one type: its properties are the parameters.
    @discardableResult
    public func performAgain<Arguments: Encodable & Sendable>(_ id: PendingMutation.ID, _ arguments: Arguments) async throws -> Performed {
        try await performAgain(id, json: JSONText(arguments).text)
    }

    private func performAgain(_ id: PendingMutation.ID, json: String) async throws -> Performed {
        Performed(try await client.callEngine { try await $0.performAgain(id: id, argumentsJson: json) })
    }

    /// Discards a waiting or parked mutation: its writes are removed from the rows. If it was sent and has no verdict,
    /// it is also withdrawn from the server before anything else is sent.
    ///
    /// - Parameter id: the mutation's id, from ``all()``.
    /// - Throws: ``RejoinError/invalidInput(_:)`` if there is no mutation with this id, or it was sent, has no
    ///   verdict, and the server's version cannot withdraw it; nothing was changed.
    public func discard(_ id: PendingMutation.ID) async throws {
        try await client.callEngine { try await $0.discard(id: id) }
    }

    /// Discards a mutation and all mutations that depend on a row that it created.
    ///
    /// - Returns: their ids, the given one first.
    /// - Throws: as ``discard(_:)``.
    @discardableResult
    public func discardChain(_ id: PendingMutation.ID) async throws -> [PendingMutation.ID] {
        try await client.callEngine { try await $0.discardChain(id: id) }
    }
}
