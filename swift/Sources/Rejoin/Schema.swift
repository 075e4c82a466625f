// The app's own tables and indexes.

import Foundation
internal import RejoinFFI

/// Creates and alters local-only tables, and creates indexes on any table.
///
/// ```swift
/// try await client.schema.createTable("draft", "id TEXT PRIMARY KEY, body TEXT")
/// ```
///
/// A handle is the client under another name: it costs nothing to get.
public struct SchemaHandle: Sendable {
    let client: RejoinClient
}

extension RejoinClient {
    /// The app's own tables and indexes.
    public var schema: SchemaHandle { SchemaHandle(client: self) }
}

extension SchemaHandle {
    /// Creates a local-only table if it does not exist.
    ///
    /// ```swift
    /// try await client.schema.createTable("draft", "id TEXT PRIMARY KEY, body TEXT")
    /// ```
    ///
    /// - Parameter name: the table's name.
    /// - Parameter definition: the text between the parentheses of `CREATE TABLE`.
    /// - Throws: ``RejoinError/invalidInput(_:)``; nothing was changed.
    public func createTable(_ name: String, _ definition: String) async throws {
        try await client.callEngine { try await $0.createTable(name: name, definition: definition) }
    }

    /// Adds a column to a local-only table.
    ///
    /// ```swift
    /// try await client.schema.alterTable("draft", addingColumn: "seen INTEGER NOT NULL DEFAULT 0")
    /// ```
    ///
    /// - Parameter name: the table's name.
    /// - Parameter definition: the column's name, type and constraints.
    /// - Throws: ``RejoinError/invalidInput(_:)`` for a synced table: only the server changes its columns. Nothing
    ///   was changed.
    public func alterTable(_ name: String, addingColumn definition: String) async throws {
        try await client.callEngine { try await $0.alterTable(name: name, definition: definition) }
    }

    /// Creates an index on columns of any table if it does not exist.
    ///
    /// - Returns: the index's name; the same for the same table and columns.
    /// - Throws: ``RejoinError/invalidInput(_:)``; nothing was changed.
    @discardableResult
    public func createIndex(on table: String, columns: [String]) async throws -> String {
        try await client.callEngine { try await $0.createIndex(table: table, columns: columns) }
    }

    /// Creates a full-text index over columns of a synced table. The index follows local and remote writes and stays on
    /// this device. An identical index is kept; a different one is rebuilt. Works offline; scans the table once.
    ///
    /// ```swift
    /// try await client.schema.createSearchIndex(on: "place", columns: ["name", "note"])
    /// let found = try await client.query(
    ///     "SELECT place.* FROM search_place JOIN place USING (id) WHERE search_place MATCH ? ORDER BY rank", ["cafe"])
    /// ```
    ///
    /// - Parameter table: a synced table.
    /// - Parameter columns: the columns to search in.
    /// - Parameter tokenizer: an FTS5 tokenizer; `trigram` matches substrings. Default: `unicode61 remove_diacritics
    ///   2`.
    /// - Returns: the index's name, `search_<table>`.
    /// - Throws: ``RejoinError/invalidInput(_:)`` for a table that is not synced, no column, an unknown column or an
    ///   unknown tokenizer; nothing was created.
    @discardableResult
    public func createSearchIndex(
        on table: String, columns: [String], tokenizer: String? = nil
    ) async throws -> String {
        try await client.callEngine {
            try await $0.createSearchIndex(table: table, columns: columns, tokenizer: tokenizer)
        }
    }

    /// Removes the full-text index of a synced table, if it has one.
    ///
    /// - Throws: ``RejoinError/invalidInput(_:)`` for a table that is not synced.
    public func dropSearchIndex(on table: String) async throws {
        try await client.callEngine { try await $0.dropSearchIndex(table: table) }
    }
}
