// What the body of a transaction, or of a read, is given. Border: begins and ends nothing but savepoints.

import Foundation
internal import RejoinFFI

/// A transaction while its body runs; made by ``RejoinClient/transaction(isolation:_:)``.
///
/// Statements are done one after the other, in the order in which they were asked for. After the body's end every call throws.
public final class Transaction: Sendable {
    private let held: HeldTransaction
    private let state = Locked(State())

    private struct State {
        var isOpen = true
        var isAbandoned = false
    }

    init(_ held: HeldTransaction) { self.held = held }

    /// Runs one statement, and tells how many rows it changed.
    ///
    /// - Throws: as ``RejoinClient/execute(_:_:)`` does. The body may catch that and go on: the transaction is as it was before
    ///   the statement.
    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters = []) async throws -> Int {
        Int(try await translated { try await held.execute(sql: sql, params: params.ffi) })
    }

    /// Runs several statements, all or none of them, and tells how many rows each changed. Faster than one by one.
    @discardableResult
    public func batch(_ statements: [Statement]) async throws -> [Int] {
        try await translated { try await held.batch(statements: statements.map(\.ffi)) }.map { Int($0) }
    }

    /// The rows of a statement, which may also write (`RETURNING`); it sees what this transaction wrote.
    public func query(_ sql: String, _ params: SQLParameters = []) async throws -> RowBuffer {
        try await translated { try RowBuffer(await held.query(sql: sql, params: params.ffi)) }
    }

    /// The rows of a statement as values of a `Decodable` type; see ``Row/decode(_:)`` for what fits.
    public func query<Value: Decodable & Sendable>(_ sql: String, _ params: SQLParameters = [], as type: Value.Type) async throws
        -> [Value]
    {
        try await query(sql, params).decode(type)
    }

    /// Runs `body` as a part that can fail alone: if it throws, what it wrote is undone, and the transaction may go on.
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
    /// Savepoints nest. They belong to one task at a time: the innermost is the one that ends, another throws
    /// ``RejoinError/invalidInput(reason:)`` and stays open. If one is open when the body of the transaction returns, nobody can
    /// tell what of it is wanted: the whole transaction is rolled back, and throws that too.
    ///
    /// - Throws: what `body` throws, after undoing.
    @discardableResult
    public func savepoint<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async throws -> Result {
        let part = try await translated { try await held.savepoint() }
        let result: Result
        do {
            result = try await body()
        } catch {
            // If the whole transaction is gone, so is the savepoint; the body's error says more. What cannot be undone stays open,
            // and is never committed.
            try? await held.rollbackTo(number: part)
            throw error
        }
        try await translated { try await held.release(number: part) }
        return result
    }

    /// Whether statements can still be asked for.
    var isOpen: Bool { state.with { $0.isOpen } }

    /// Whether it was rolled back because its task was cancelled.
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

    /// Rolls back in the background: the body may be waiting for something that will take long, and others want to write.
    func abandon() {
        state.with { $0.isAbandoned = true }
        Task { await rollback() }
    }

    private func close() { state.with { $0.isOpen = false } }
}

/// One state of the database while the body of ``RejoinClient/read(isolation:_:)`` runs.
public struct Snapshot: Sendable {
    private let held: HeldSnapshot

    init(_ held: HeldSnapshot) { self.held = held }

    /// The rows of a query.
    public func query(_ sql: String, _ params: SQLParameters = []) async throws -> RowBuffer {
        try await translated { try RowBuffer(await held.query(sql: sql, params: params.ffi)) }
    }

    /// The rows of a query as values of a `Decodable` type; see ``Row/decode(_:)`` for what fits.
    public func query<Value: Decodable & Sendable>(_ sql: String, _ params: SQLParameters = [], as type: Value.Type) async throws
        -> [Value]
    {
        try await query(sql, params).decode(type)
    }
}
