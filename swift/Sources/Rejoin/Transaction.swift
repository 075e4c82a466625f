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
        /// The savepoints whose bodies have not ended, innermost last, by number.
        var parts: [Int] = []
        var lastPart = 0
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
    /// Savepoints nest. They belong to one task at a time: the innermost is the one that ends. If one is open when the body of the
    /// transaction returns, or does not end as the innermost, nobody can tell what of it is wanted: the whole transaction is rolled
    /// back, and throws ``RejoinError/invalidInput(reason:)``.
    ///
    /// - Throws: what `body` throws, after undoing.
    @discardableResult
    public func savepoint<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async throws -> Result {
        // Counted before the order goes out: a body that returns meanwhile must not commit what this may undo.
        let part = try beginPart()
        do {
            try await translated { try await held.savepoint() }
        } catch {
            endPart(part)
            throw error
        }
        do {
            let result = try await body()
            guard isInnermost(part) else { throw Self.disorder }
            try await translated { try await held.release() }
            endPart(part)
            return result
        } catch {
            // If the whole transaction is gone, so is the savepoint; the body's error says more. What could not be undone stays
            // counted, and is never committed.
            if isInnermost(part), (try? await held.rollbackTo()) != nil { endPart(part) }
            throw error
        }
    }

    private static let disorder = RejoinError.invalidInput(
        reason: "savepoints must end before their transaction does, the innermost first; wait for each")

    private func beginPart() throws -> Int {
        try state.with { state in
            guard state.isOpen else {
                throw RejoinError.invalidInput(reason: "the transaction has ended; savepoints belong into its body")
            }
            state.lastPart += 1
            state.parts.append(state.lastPart)
            return state.lastPart
        }
    }

    private func isInnermost(_ part: Int) -> Bool { state.with { $0.parts.last == part } }

    private func endPart(_ part: Int) { state.with { state in state.parts.removeAll { $0 == part } } }

    /// Whether statements can still be asked for.
    var isOpen: Bool { state.with { $0.isOpen } }

    /// Whether it was rolled back because its task was cancelled.
    var isAbandoned: Bool { state.with { $0.isAbandoned } }

    func commit() async throws {
        guard close() else {
            // Where the transaction is gone by itself, this throws why.
            try await translated { try await held.rollback() }
            throw Self.disorder
        }
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

    /// Lets nothing more in; tells whether every savepoint has ended.
    @discardableResult
    private func close() -> Bool {
        state.with { state in
            state.isOpen = false
            return state.parts.isEmpty
        }
    }
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
