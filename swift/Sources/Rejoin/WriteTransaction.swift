// The arguments of the bodies of transactions and reads.

import Foundation
internal import RejoinFFI

/// An open transaction; created by ``RejoinClient/transaction(isolation:_:)``.
///
/// Statements run one after the other, in call order. After the body ends, every call throws.
public final class WriteTransaction: RejoinWriter {
    private let held: HeldTransaction
    private let state = Locked(State())

    private struct State {
        var isOpen = true
        var isAbandoned = false
    }

    init(_ held: HeldTransaction) { self.held = held }

    /// Runs one statement and returns the number of changed rows.
    ///
    /// - Throws: as ``RejoinClient/execute(_:_:)``. The body may catch the error and continue: the statement had no
    ///   effect.
    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters) async throws -> Int {
        Int(try await translated { try await held.execute(sql: sql, params: params.ffi) })
    }

    /// Runs several statements, all or none, and returns the number of rows that each changed. Faster than separate
    /// calls.
    @discardableResult
    public func batch(_ statements: [Statement]) async throws -> [Int] {
        try await translated { try await held.batch(statements: statements.map(\.ffi)) }.map { Int($0) }
    }

    /// Returns the rows of a statement, which may also write (`RETURNING`). It sees the transaction's writes.
    public func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await translated { try RowBuffer(await held.query(sql: sql, params: params.ffi)) }
    }

    /// Runs `body` in a savepoint: if it throws, its writes are reverted, and the transaction can continue.
    ///
    /// ```swift
    /// try await client.transaction { tx in
    ///     try await tx.execute("INSERT INTO task (id, title) VALUES (?, ?)", ["a", "one"])
    ///     try? await tx.savepoint {
    ///         try await tx.execute("INSERT INTO tag (id, task_id) VALUES (?, ?)", ["t", "a"])
    ///         throw NotWanted()
    ///     }
    /// }
    /// ```
    ///
    /// Savepoints nest. They belong to one task at a time: only the innermost can end, ending another throws
    /// ``RejoinError/invalidInput(_:)`` and leaves it open. If a savepoint is open when the transaction's body
    /// returns, the transaction is rolled back and throws the same.
    ///
    /// - Throws: the error of `body`, after reverting.
    @discardableResult
    public func savepoint<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async throws -> Result {
        let part = try await translated { try await held.savepoint() }
        let result: Result
        do {
            result = try await body()
        } catch {
            // If the transaction has already ended, so has the savepoint; the body's error is the better one. A
            // savepoint that cannot be reverted stays open and is never committed.
            try? await held.rollbackTo(number: part)
            throw error
        }
        try await translated { try await held.release(number: part) }
        return result
    }

    /// Whether the transaction accepts statements.
    var isOpen: Bool { state.with { $0.isOpen } }

    /// Whether cancellation of its task rolled it back.
    var isAbandoned: Bool { state.with { $0.isAbandoned } }

    func commit() async throws {
        close()
        try await translated { try await held.commit() }
    }

    func rollback() async {
        close()
        // It may have ended by itself; then there is nothing to roll back.
        try? await held.rollback()
    }

    /// Rolls back in the background, because the body may wait for long while other writers wait.
    func abandon() {
        state.with { $0.isAbandoned = true }
        Task { await rollback() }
    }

    private func close() { state.with { $0.isOpen = false } }
}

/// A snapshot of the database, valid while the body of ``RejoinClient/read(isolation:_:)`` runs.
public struct Snapshot: RejoinReader {
    private let held: HeldSnapshot

    init(_ held: HeldSnapshot) { self.held = held }

    /// Returns the rows of a query.
    public func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await translated { try RowBuffer(await held.query(sql: sql, params: params.ffi)) }
    }
}
