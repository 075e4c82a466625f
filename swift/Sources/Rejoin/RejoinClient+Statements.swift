// Reading and writing: single statements, several at once, and the app's own tables.

import Foundation
internal import RejoinFFI

/// A statement with its parameters, for the calls that take several.
public struct Statement: Sendable {
    /// The SQL, with a question mark for each parameter.
    public let sql: String
    /// The parameters, in order.
    public let params: SQLParameters

    /// - Parameter sql: one statement.
    /// - Parameter params: what stands for its question marks.
    public init(_ sql: String, _ params: SQLParameters = []) {
        self.sql = sql
        self.params = params
    }
}

extension RejoinClient {
    /// The rows of a query, from the last committed state.
    ///
    /// ```swift
    /// for row in try await client.query("SELECT title FROM task WHERE done = ?", [false]) {
    ///     print(try row.get("title", as: String.self))
    /// }
    /// ```
    ///
    /// Works offline and never waits for a write.
    ///
    /// - Parameter sql: one statement that reads.
    /// - Parameter params: what stands for its question marks.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` if it does not compile, or writes.
    public func query(_ sql: String, _ params: SQLParameters = []) async throws -> RowBuffer {
        try await translated { try RowBuffer(await ffi.query(sql: sql, params: params.ffi)) }
    }

    /// The rows of a query as values of a `Decodable` type; see ``Row/decode(_:)`` for what fits.
    ///
    /// ```swift
    /// struct Todo: Decodable { let id: String; let title: String; let note: String? }
    /// let tasks = try await client.query("SELECT id, title, note FROM task", as: Todo.self)
    /// let count = try await client.query("SELECT count(*) FROM task", as: Int.self)[0]
    /// ```
    ///
    /// - Parameter sql: one statement that reads.
    /// - Parameter params: what stands for its question marks.
    /// - Parameter type: the type of a row, or of the only column.
    /// - Throws: as without a type, and `DecodingError` for a row that does not fit.
    public func query<Value: Decodable & Sendable>(_ sql: String, _ params: SQLParameters = [], as type: Value.Type) async throws
        -> [Value]
    {
        try await query(sql, params).decode(type)
    }

    /// The rows of several queries, all from one state of the database.
    ///
    /// ```swift
    /// let results = try await client.queryAll([
    ///     Statement("SELECT * FROM task"), Statement("SELECT * FROM tag WHERE name = ?", ["urgent"]),
    /// ])
    /// ```
    ///
    /// - Parameter statements: queries, each with its parameters.
    /// - Returns: a result for each, in order.
    /// - Throws: as ``query(_:_:)`` does.
    public func queryAll(_ statements: [Statement]) async throws -> [RowBuffer] {
        try await translated {
            try await ffi.queryAll(statements: statements.map(\.ffi)).map { try RowBuffer($0) }
        }
    }

    /// Runs one statement in a transaction of its own, and tells how many rows it changed.
    ///
    /// ```swift
    /// try await client.execute("UPDATE task SET done = ? WHERE id = ?", [true, id])
    /// ```
    ///
    /// When it returns, what it wrote is on disk and, where the table is synced, in the queue; it is sent when there is a
    /// network.
    ///
    /// - Parameter sql: one statement.
    /// - Parameter params: what stands for its question marks.
    /// - Returns: how many rows were changed.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` or ``RejoinError/constraint(reason:table:column:rule:)``; nothing was
    ///   changed then.
    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters = []) async throws -> Int {
        try outsideOfTransaction()
        return Int(try await translated { try await ffi.execute(sql: sql, params: params.ffi) })
    }

    /// Runs one statement that writes and gives rows, in a transaction of its own.
    ///
    /// ```swift
    /// let rows = try await client.executeReturning("DELETE FROM draft WHERE sent = ? RETURNING id", [true])
    /// ```
    ///
    /// - Throws: as ``execute(_:_:)`` does.
    public func executeReturning(_ sql: String, _ params: SQLParameters = []) async throws -> RowBuffer {
        try outsideOfTransaction()
        return try await translated { try RowBuffer(await ffi.executeReturning(sql: sql, params: params.ffi)) }
    }

    /// Runs several statements without parameters, separated by `;`, in one transaction.
    ///
    /// - Throws: as ``execute(_:_:)`` does; nothing of any of them was done then.
    public func executeBatch(_ sql: String) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.executeBatch(sql: sql) }
    }

    /// Runs several statements in one transaction, and tells how many rows each changed.
    ///
    /// ```swift
    /// try await client.batch(tasks.map { Statement("INSERT INTO task (id, title) VALUES (?, ?)", [$0.id, $0.title]) })
    /// ```
    ///
    /// What they write to synced tables is one mutation: the server accepts or refuses it as a whole. This is the fastest way
    /// to write much; where a statement depends on what an earlier one found, use ``transaction(isolation:_:)``.
    ///
    /// - Throws: as ``execute(_:_:)`` does, and says which statement failed; nothing of any of them was done then.
    @discardableResult
    public func batch(_ statements: [Statement]) async throws -> [Int] {
        try outsideOfTransaction()
        return try await translated { try await ffi.batch(statements: statements.map(\.ffi)) }.map { Int($0) }
    }

    /// Makes one of the app's own tables, which is never synced.
    ///
    /// ```swift
    /// try await client.createTable("draft", "id TEXT PRIMARY KEY, body TEXT")
    /// ```
    ///
    /// - Parameter name: the table's name.
    /// - Parameter definition: what stands between the parentheses of `CREATE TABLE`.
    /// - Throws: ``RejoinError/invalidInput(reason:)``; nothing was changed then.
    public func createTable(_ name: String, _ definition: String) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.createTable(name: name, definition: definition) }
    }

    /// Adds a column to one of the app's own tables, and keeps its rows.
    ///
    /// ```swift
    /// try await client.alterTable("draft", addingColumn: "seen INTEGER NOT NULL DEFAULT 0")
    /// ```
    ///
    /// - Parameter definition: the column's name, type and constraints.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a synced table, whose columns are the server's to change; nothing was
    ///   changed then.
    public func alterTable(_ name: String, addingColumn definition: String) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.alterTable(name: name, definition: definition) }
    }

    /// Makes an index for the app's queries, on any table.
    ///
    /// - Returns: the index's name; the same for the same table and columns, however often it is asked for.
    /// - Throws: ``RejoinError/invalidInput(reason:)``; nothing was changed then.
    @discardableResult
    public func createIndex(on table: String, columns: [String]) async throws -> String {
        try outsideOfTransaction()
        return try await translated { try await ffi.createIndex(table: table, columns: columns) }
    }

    /// Makes a full-text index over columns of a synced table. It is kept in step with the table whoever writes, and stays on
    /// this device; the same one again stays as it is, another is made anew. Works offline; costs a scan of the table.
    ///
    /// ```swift
    /// try await client.createSearchIndex(on: "place", columns: ["name", "note"])
    /// let found = try await client.query(
    ///     "SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank", ["cafe"])
    /// ```
    ///
    /// - Parameter tokenizer: one of FTS5's; `trigram` finds parts of words. Default: `unicode61 remove_diacritics 2`.
    /// - Returns: the index's name, `search_<table>`.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a table that is not synced, for no or an unknown column, and for an
    ///   unknown tokenizer; nothing was made then.
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
