// Transactions whose body may wait: begin, the body, commit; and reads of one state.
//
// Promise: the body's end is the transaction's. It is committed if and only if the body returns; an error, and the cancellation of
// its task, roll it back, at once and whatever the body waits for.

import Foundation
internal import RejoinFFI

extension RejoinClient {
    /// Runs `body` in a transaction: all that it writes, or nothing.
    ///
    /// ```swift
    /// let moved = try await client.transaction { tx in
    ///     let open = try await tx.query("SELECT id FROM task WHERE done = ?", [false], as: String.self)
    ///     try await tx.execute("UPDATE task SET rank = rank + 1 WHERE done = ?", [false])
    ///     return open.count
    /// }
    /// ```
    ///
    /// Committed when `body` returns; rolled back when it throws, and as soon as the task is cancelled. What it writes to synced
    /// tables is one mutation, which the server accepts or refuses as a whole. While it is open every other write waits, so do
    /// not wait for a person or a server in it: when no statement comes for the configured time, it is rolled back with
    /// ``RejoinError/transactionTimeout(reason:)``. Suspending and shutting down roll it back as well.
    ///
    /// Write by `tx`, not by the client: `client.execute` in the body would wait for the end of the very transaction it stands
    /// in, and throws ``RejoinError/invalidInput(reason:)`` at once. So does every call of the client but queries, watches, ``read(isolation:_:)``,
    /// and what only tells the engine something. `client.query` sees the state before.
    ///
    /// - Parameter isolation: the actor that `body` runs on; the caller's.
    /// - Parameter body: what to do; not kept beyond the call.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, `CancellationError` if the task was cancelled before the commit, and what committing
    ///   throws; nothing was changed then.
    @discardableResult
    public func transaction<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: (Transaction) async throws -> Result
    ) async throws -> Result {
        try outsideOfTransaction()
        let held = try await abandonable { [ffi] in try await ffi.begin() }
        return try await ending(held, body)
    }

    /// Runs `body` on one state of the database: what is committed meanwhile is not seen.
    ///
    /// ```swift
    /// let (tasks, tags) = try await client.read { state in
    ///     (try await state.query("SELECT * FROM task", as: Todo.self), try await state.query("SELECT * FROM tag", as: Tag.self))
    /// }
    /// ```
    ///
    /// It takes one of the configured readers for as long as it lasts. Where no query depends on another, ``queryAll(_:)`` is
    /// faster.
    ///
    /// - Throws: what `body` throws, ``RejoinError/transactionTimeout(reason:)`` in it when no query came for the configured
    ///   time, and `CancellationError` if the task was cancelled.
    public func read<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: (Snapshot) async throws -> Result
    ) async throws -> Result {
        let held = try await abandonable { [ffi] in try await ffi.beginRead() }
        do {
            let result = try await withTaskCancellationHandler {
                try await body(Snapshot(held))
            } onCancel: {
                // The body may be waiting for something that will take long, and others want to read.
                Task { try? await held.finish() }
            }
            // It may have ended by itself since the last query, which takes nothing from the result.
            try? await held.finish()
            return result
        } catch {
            try? await held.finish()
            throw Task.isCancelled ? CancellationError() : error
        }
    }

    /// Runs `body` in a transaction that has begun, and ends it.
    func ending<Result: Sendable>(
        _ held: HeldTransaction, isolation: isolated (any Actor)? = #isolation, _ body: (Transaction) async throws -> Result
    ) async throws -> Result {
        let transaction = Transaction(held)
        return try await Inside.$current.withValue(Inside(.transaction, of: path) { transaction.isOpen }) {
            do {
                let result = try await withTaskCancellationHandler {
                    try await body(transaction)
                } onCancel: {
                    transaction.abandon()
                }
                try Task.checkCancellation()
                try await transaction.commit()
                return result
            } catch {
                await transaction.rollback()
                // What a rolled back transaction answers is not what happened: somebody cancelled.
                throw transaction.isAbandoned ? CancellationError() : error
            }
        }
    }
}
