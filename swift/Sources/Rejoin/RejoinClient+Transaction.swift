// Transactions with an asynchronous body, and reads on one snapshot.
//
// A transaction commits if and only if its body returns. An error, or cancellation of its task, rolls it back at once,
// whatever the body waits for.

import Foundation
internal import RejoinFFI

extension RejoinClient {
    /// Runs `body` in one transaction.
    ///
    /// ```swift
    /// let moved = try await client.transaction { tx in
    ///     let open = try await tx.query("SELECT id FROM task WHERE done = ?", [false], as: String.self)
    ///     try await tx.execute("UPDATE task SET rank = rank + 1 WHERE done = ?", [false])
    ///     return open.count
    /// }
    /// ```
    ///
    /// It commits when `body` returns. It is rolled back when `body` throws, as soon as the task is cancelled, and by
    /// suspend and shutdown. Its writes to synced tables form one mutation, which the server accepts or rejects as a
    /// whole.
    ///
    /// Keep the body short, without user input or network calls: every other write waits for it. After the configured
    /// time without a statement it is rolled back with ``RejoinError/transactionTimeout(_:)``.
    ///
    /// Write with `tx` inside the body. `client.execute` would wait for the transaction that it is called in, and
    /// throws ``RejoinError/invalidInput(_:)`` at once. So do all other calls of the client except queries, watches,
    /// ``read(isolation:_:)`` and notifications such as ``SyncHandle/setNetwork(online:metered:)``. `client.query` sees
    /// the state before the transaction.
    ///
    /// - Parameter isolation: the actor that `body` runs on; the caller's.
    /// - Parameter body: the work; not kept beyond the call.
    /// - Returns: the result of `body`.
    /// - Throws: the error of `body`, `CancellationError` if the task was cancelled before the commit, and errors of
    ///   the commit. Then nothing was changed.
    @discardableResult
    public func transaction<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: (WriteTransaction) async throws -> Result
    ) async throws -> Result {
        try outsideOfTransaction()
        let held = try await abandonable { [ffi] in try await ffi.begin() }
        return try await ending(held, body)
    }

    /// Runs `body` on one snapshot of the database, unaffected by concurrent commits.
    ///
    /// ```swift
    /// let (tasks, tags) = try await client.read { state in
    ///     (try await state.query("SELECT * FROM task", as: Todo.self), try await state.query("SELECT * FROM tag", as: Tag.self))
    /// }
    /// ```
    ///
    /// It uses one of the configured read connections until it ends. If no query depends on another, ``queryMany(_:)``
    /// is faster.
    ///
    /// - Throws: the error of `body`, ``RejoinError/transactionTimeout(_:)`` if no query ran for the configured
    ///   time, and `CancellationError` if the task was cancelled.
    public func read<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: (Snapshot) async throws -> Result
    ) async throws -> Result {
        let held = try await abandonable { [ffi] in try await ffi.beginRead() }
        do {
            let result = try await withTaskCancellationHandler {
                try await body(Snapshot(held))
            } onCancel: {
                // The body may wait for long; release the read connection at once.
                Task { try? await held.finish() }
            }
            // The snapshot may have timed out since the last query; the result is still valid.
            try? await held.finish()
            return result
        } catch {
            try? await held.finish()
            throw Task.isCancelled ? CancellationError() : error
        }
    }

    /// Runs `body` in an open transaction and ends it.
    func ending<Result: Sendable>(
        _ held: HeldTransaction, isolation: isolated (any Actor)? = #isolation, _ body: (WriteTransaction) async throws -> Result
    ) async throws -> Result {
        let transaction = WriteTransaction(held)
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
                // The error of a transaction that cancellation rolled back is a consequence; report the cancellation.
                throw transaction.isAbandoned ? CancellationError() : error
            }
        }
    }
}
