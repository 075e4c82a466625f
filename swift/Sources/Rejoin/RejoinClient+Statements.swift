// Reading and writing: single statements, batches, and local-only tables.

import Foundation
internal import RejoinFFI

/// A statement with its parameters.
public struct Statement: Sendable {
    /// The SQL, with a question mark for each parameter.
    public let sql: String
    /// The parameters, in order.
    public let params: SQLParameters

    /// - Parameter sql: one statement.
    /// - Parameter params: a value for each question mark.
    public init(_ sql: String, _ params: SQLParameters = []) {
        self.sql = sql
        self.params = params
    }
}

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
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if the statement does not compile or is not read-only.
    public func query(_ sql: String, _ params: SQLParameters = []) async throws -> RowBuffer {
        try await translated { try RowBuffer(await ffi.query(sql: sql, params: params.ffi)) }
    }

    /// Returns the rows of a query as values of a `Decodable` type; see ``Row/decode(_:)`` for the supported types.
    ///
    /// ```swift
    /// struct Todo: Decodable { let id: String; let title: String; let note: String? }
    /// let tasks = try await client.query("SELECT id, title, note FROM task", as: Todo.self)
    /// let count = try await client.query("SELECT count(*) FROM task", as: Int.self)[0]
    /// ```
    ///
    /// - Parameter sql: one read-only statement.
    /// - Parameter params: a value for each question mark.
    /// - Parameter type: the type of a row, or of the only column.
    /// - Throws: as without a type, and `DecodingError` for a row that does not fit.
    public func query<Value: Decodable & Sendable>(_ sql: String, _ params: SQLParameters = [], as type: Value.Type) async throws
        -> [Value]
    {
        try await query(sql, params).decode(type)
    }

    /// Runs several queries on the same database state.
    ///
    /// ```swift
    /// let results = try await client.queryAll([
    ///     Statement("SELECT * FROM task"), Statement("SELECT * FROM tag WHERE name = ?", ["urgent"]),
    /// ])
    /// ```
    ///
    /// - Parameter statements: queries, each with its parameters.
    /// - Returns: a result for each, in order.
    /// - Throws: as ``query(_:_:)``.
    public func queryAll(_ statements: [Statement]) async throws -> [RowBuffer] {
        try await translated {
            try await ffi.queryAll(statements: statements.map(\.ffi)).map { try RowBuffer($0) }
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
    /// - Throws: ``RejoinError/invalidInput(reason:)`` or ``RejoinError/constraint(reason:table:column:rule:)``; nothing
    ///   was changed.
    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters = []) async throws -> Int {
        try outsideOfTransaction()
        return Int(try await translated { try await ffi.execute(sql: sql, params: params.ffi) })
    }

    /// As ``execute(_:_:)``, with a ``Statement``.
    @discardableResult
    public func execute(_ statement: Statement) async throws -> Int { try await execute(statement.sql, statement.params) }

    /// Runs one writing statement that returns rows, in its own transaction.
    ///
    /// ```swift
    /// let rows = try await client.executeReturning("DELETE FROM draft WHERE sent = ? RETURNING id", [true])
    /// ```
    ///
    /// - Throws: as ``execute(_:_:)``.
    public func executeReturning(_ sql: String, _ params: SQLParameters = []) async throws -> RowBuffer {
        try outsideOfTransaction()
        return try await translated { try RowBuffer(await ffi.executeReturning(sql: sql, params: params.ffi)) }
    }

    /// Runs several statements without parameters, separated by `;`, in one transaction.
    ///
    /// - Throws: as ``execute(_:_:)``; then none of the statements took effect.
    public func executeBatch(_ sql: String) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.executeBatch(sql: sql) }
    }

    /// Runs several statements in one transaction and returns the number of rows that each changed.
    ///
    /// ```swift
    /// try await client.batch(tasks.map { Statement("INSERT INTO task (id, title) VALUES (?, ?)", [$0.id, $0.title]) })
    /// ```
    ///
    /// Their writes to synced tables form one mutation: the server accepts or rejects it as a whole. This is the fastest
    /// way to write many rows. If a statement depends on the result of an earlier one, use ``transaction(isolation:_:)``.
    ///
    /// - Throws: as ``execute(_:_:)``, with the failed statement; then none of the statements took effect.
    @discardableResult
    public func batch(_ statements: [Statement]) async throws -> [Int] {
        try outsideOfTransaction()
        return try await translated { try await ffi.batch(statements: statements.map(\.ffi)) }.map { Int($0) }
    }

    /// Creates a local-only table if it does not exist.
    ///
    /// ```swift
    /// try await client.createTable("draft", "id TEXT PRIMARY KEY, body TEXT")
    /// ```
    ///
    /// - Parameter name: the table's name.
    /// - Parameter definition: the text between the parentheses of `CREATE TABLE`.
    /// - Throws: ``RejoinError/invalidInput(reason:)``; nothing was changed.
    public func createTable(_ name: String, _ definition: String) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.createTable(name: name, definition: definition) }
    }

    /// Adds a column to a local-only table.
    ///
    /// ```swift
    /// try await client.alterTable("draft", addingColumn: "seen INTEGER NOT NULL DEFAULT 0")
    /// ```
    ///
    /// - Parameter definition: the column's name, type and constraints.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a synced table: only the server changes its columns. Nothing
    ///   was changed.
    public func alterTable(_ name: String, addingColumn definition: String) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.alterTable(name: name, definition: definition) }
    }

    /// Creates an index on columns of any table if it does not exist.
    ///
    /// - Returns: the index's name; the same for the same table and columns.
    /// - Throws: ``RejoinError/invalidInput(reason:)``; nothing was changed.
    @discardableResult
    public func createIndex(on table: String, columns: [String]) async throws -> String {
        try outsideOfTransaction()
        return try await translated { try await ffi.createIndex(table: table, columns: columns) }
    }

    /// Creates a full-text index over columns of a synced table. The index follows local and remote writes and stays on
    /// this device. An identical index is kept; a different one is rebuilt. Works offline; scans the table once.
    ///
    /// ```swift
    /// try await client.createSearchIndex(on: "place", columns: ["name", "note"])
    /// let found = try await client.query(
    ///     "SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank", ["cafe"])
    /// ```
    ///
    /// - Parameter tokenizer: an FTS5 tokenizer; `trigram` matches substrings. Default: `unicode61 remove_diacritics 2`.
    /// - Returns: the index's name, `search_<table>`.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a table that is not synced, no column, an unknown column or an
    ///   unknown tokenizer; nothing was created.
    @discardableResult
    public func createSearchIndex(
        on table: String, columns: [String], tokenizer: String? = nil
    ) async throws -> String {
        try outsideOfTransaction()
        return try await translated {
            try await ffi.createSearchIndex(table: table, columns: columns, tokenizer: tokenizer)
        }
    }

    /// Removes the full-text index of a synced table, if it has one.
    ///
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a table that is not synced.
    public func dropSearchIndex(on table: String) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.dropSearchIndex(table: table) }
    }
}
