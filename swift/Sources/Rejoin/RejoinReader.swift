// Reading and writing with statements and `Decodable` types: the forms of a call that all types with access to the
// database share.

import Foundation

/// Has rows to read: a client, a transaction, a snapshot, an action's context, or a read-only client.
///
/// A function that takes `some RejoinReader` can be called with each of them:
///
/// ```swift
/// func openTasks(_ database: some RejoinReader) async throws -> [Todo] {
///     try await database.query("SELECT id, title FROM task WHERE done = \(false)")
/// }
/// ```
public protocol RejoinReader: Sendable {
    /// Returns the rows of a query; see ``RejoinClient/query(_:_:)``.
    func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer
}

extension RejoinReader {
    /// As ``query(_:_:)``, with a ``Statement``, usually a literal.
    ///
    /// ```swift
    /// for row in try await client.query("SELECT title FROM task WHERE done = \(false)") {
    ///     print(try row.get("title", as: String.self))
    /// }
    /// ```
    public func query(_ statement: Statement) async throws -> RowBuffer {
        try await query(statement.sql, statement.params)
    }

    /// Returns the rows of a query as values of a `Decodable` type; see ``Row/decode(_:)`` for the supported types.
    ///
    /// ```swift
    /// struct Todo: Decodable { let id: String; let title: String; let note: String? }
    /// let tasks: [Todo] = try await client.query("SELECT id, title, note FROM task WHERE done = \(false)")
    /// let titles = try await client.query("SELECT title FROM task", as: String.self)
    /// ```
    ///
    /// - Parameter statement: one read-only statement.
    /// - Parameter type: the type of a row, or of the only column. Not needed where the context gives it.
    /// - Throws: as without a type, and `DecodingError` for a row that does not fit.
    public func query<Value: Decodable & Sendable>(_ statement: Statement, as type: Value.Type = Value.self) async throws
        -> [Value]
    {
        try await query(statement.sql, statement.params).decode(type)
    }

    /// As ``query(_:as:)``, with SQL and parameters.
    ///
    /// - Parameter sql: one read-only statement.
    /// - Parameter params: a value for each question mark.
    /// - Parameter type: the type of a row, or of the only column. Not needed where the context gives it.
    public func query<Value: Decodable & Sendable>(
        _ sql: String, _ params: SQLParameters, as type: Value.Type = Value.self
    ) async throws -> [Value] {
        try await query(sql, params).decode(type)
    }

    /// Returns the first row of a query as a value of a `Decodable` type, or `nil` if there is none. The query is not
    /// limited: add `LIMIT 1` if it may find many rows.
    ///
    /// ```swift
    /// let task: Todo? = try await client.queryOne("SELECT id, title FROM task WHERE id = \(id)")
    /// let count = try await client.queryOne("SELECT count(*) FROM task", as: Int.self)
    /// ```
    ///
    /// - Throws: as ``query(_:as:)``.
    public func queryOne<Value: Decodable & Sendable>(_ statement: Statement, as type: Value.Type = Value.self)
        async throws -> Value?
    {
        try await query(statement.sql, statement.params).first?.decode(type)
    }
}

/// Has rows to read and to write: a client, a transaction, or an action's context.
public protocol RejoinWriter: RejoinReader {
    /// Runs one statement and returns the number of changed rows; see ``RejoinClient/execute(_:_:)``.
    @discardableResult
    func execute(_ sql: String, _ params: SQLParameters) async throws -> Int
}

extension RejoinWriter {
    /// As ``execute(_:_:)``, with a ``Statement``, usually a literal.
    ///
    /// ```swift
    /// try await client.execute("UPDATE task SET done = \(true) WHERE id = \(id)")
    /// ```
    @discardableResult
    public func execute(_ statement: Statement) async throws -> Int { try await execute(statement.sql, statement.params) }
}
