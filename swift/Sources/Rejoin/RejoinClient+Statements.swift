// Reading and writing: single statements, scripts, batches, and actions. RejoinDatabase.swift adds the forms with
// defaults.

import Foundation
internal import RejoinFFI

extension RejoinClient {
    /// Returns the rows of a query on the last committed state.
    ///
    /// ```swift
    /// for row in try await client.query("SELECT title FROM task WHERE done = ?", [false]) {
    ///     print(try row.get("title", as: String.self))
    /// }
    /// ```
    ///
    /// Works offline and never waits for a write.
    ///
    /// - Parameter sql: one read-only statement.
    /// - Parameter params: a value for each question mark.
    /// - Throws: ``RejoinError/invalidInput(_:)`` if the statement does not compile or is not read-only.
    public func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await translated { try RowBuffer(await ffi.query(sql: sql, params: params.ffi)) }
    }

    /// Runs several queries on the same database state.
    ///
    /// ```swift
    /// let results = try await client.queryMany([
    ///     Statement("SELECT * FROM task"), Statement("SELECT * FROM tag WHERE name = ?", ["urgent"]),
    /// ])
    /// ```
    ///
    /// - Parameter statements: queries, each with its parameters.
    /// - Returns: a result for each, in order.
    /// - Throws: as ``query(_:_:)``.
    public func queryMany(_ statements: [Statement]) async throws -> [RowBuffer] {
        try await translated {
            try await ffi.queryMany(statements: statements.map(\.ffi)).map { try RowBuffer($0) }
        }
    }

    /// Runs one statement in its own transaction and returns the number of changed rows.
    ///
    /// ```swift
    /// try await client.execute("UPDATE task SET done = ? WHERE id = ?", [true, id])
    /// ```
    ///
    /// When it returns, writes to synced tables are on disk and in the queue; they are sent when there is a network.
    ///
    /// - Parameter sql: one statement.
    /// - Parameter params: a value for each question mark.
    /// - Returns: the number of changed rows.
    /// - Throws: ``RejoinError/invalidInput(_:)`` or ``RejoinError/constraint(_:)``; nothing
    ///   was changed.
    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters) async throws -> Int {
        let params = params.ffi
        let changed = try await callEngine { engine in
            // On this thread if the writer is free: passing a small write to another thread costs more than the write.
            if let changed = try engine.tryExecute(sql: sql, params: params) { return changed }
            return try await engine.execute(sql: sql, params: params)
        }
        return Int(changed)
    }

    /// Runs one writing statement that returns rows, in its own transaction.
    ///
    /// ```swift
    /// let rows = try await client.executeReturning("DELETE FROM draft WHERE sent = ? RETURNING id", [true])
    /// ```
    ///
    /// - Throws: as ``execute(_:_:)``.
    public func executeReturning(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await callEngine { try RowBuffer(await $0.executeReturning(sql: sql, params: params.ffi)) }
    }

    /// Runs several statements without parameters, separated by `;`, in one transaction.
    ///
    /// - Throws: as ``execute(_:_:)``; then none of the statements took effect.
    public func executeScript(_ sql: String) async throws {
        try await callEngine { try await $0.executeScript(sql: sql) }
    }

    /// Runs several statements in one transaction and returns the number of rows that each changed.
    ///
    /// ```swift
    /// try await client.batch(tasks.map { Statement("INSERT INTO task (id, title) VALUES (?, ?)", [$0.id, $0.title]) })
    /// ```
    ///
    /// Their writes to synced tables form one mutation: the server accepts or rejects it as a whole. This is the
    /// fastest way to write many rows. If a statement depends on the result of an earlier one, use
    /// ``transaction(isolation:_:)``.
    ///
    /// - Throws: as ``execute(_:_:)``, with the failed statement; then none of the statements took effect.
    @discardableResult
    public func batch(_ statements: [Statement]) async throws -> [Int] {
        try await callEngine { try await $0.batch(statements: statements.map(\.ffi)) }.map { Int($0) }
    }

    /// Performs an action with its arguments as JSON; see ``RejoinDatabase/perform(_:_:)-8a5v5``.
    ///
    /// - Parameter name: the action's name.
    /// - Parameter json: one object with a member per parameter.
    @discardableResult
    public func perform(_ name: String, json: String) async throws -> Performed {
        Performed(try await callEngine { try await $0.perform(name: name, argumentsJson: json) })
    }
}
