// A file that another process writes, opened for reading.

import Foundation
internal import RejoinFFI

/// A file that the app writes, opened for reading in a widget, an app extension or another process.
///
/// ```swift
/// let reader = try await ReadOnlyClient.open(shared.appendingPathComponent("todo.db"))
/// let titles = try await reader.query("SELECT title FROM task WHERE done = ?", [false]).decode(String.self)
/// try await reader.shutdown()
/// ```
///
/// Works offline; syncing is left to the app. Put the file into the container of an app group. SQLite keeps a lock on an
/// open file: call ``shutdown()`` before iOS suspends the extension. The file closes when the reader is released.
public final class ReadOnlyClient: RejoinReader {
    private let ffi: RejoinFFI.ReadOnlyClient

    private init(_ ffi: RejoinFFI.ReadOnlyClient) { self.ffi = ffi }

    /// Opens the file. The app must have created it, with this version of Rejoin.
    ///
    /// - Throws: ``RejoinError/storage(_:)`` if it does not exist, is no database or is damaged;
    ///   ``RejoinError/invalidInput(_:)`` if it belongs to another application or an older version.
    public static func open(_ path: URL) async throws -> ReadOnlyClient {
        ReadOnlyClient(try await translated { try await RejoinFFI.ReadOnlyClient.open(path: path.path) })
    }

    /// Returns the rows of a query on the last commit of any process; see ``RejoinClient/query(_:_:)``.
    public func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await translated { try RowBuffer(await ffi.query(sql: sql, params: params.ffi)) }
    }

    /// Runs several queries on the same database state; see ``RejoinClient/queryMany(_:)``.
    public func queryMany(_ statements: [Statement]) async throws -> [RowBuffer] {
        try await translated {
            try await ffi.queryMany(statements: statements.map(\.ffi)).map { try RowBuffer($0) }
        }
    }

    /// The rows of a query now, and again after every commit of any process that changes them; see
    /// ``RejoinClient/watch(_:_:)``. A commit of another process is noticed within a quarter of a second.
    public func watch(_ sql: String, _ params: SQLParameters) -> AsyncThrowingStream<RowBuffer, any Error> {
        updates({ [ffi] in ffi.watch(sql: sql, params: params.ffi) }) { try RowBuffer($0.rows) }
    }

    /// As ``watch(_:_:)``, with a ``Statement``, usually a literal.
    public func watch(_ statement: Statement) -> AsyncThrowingStream<RowBuffer, any Error> {
        watch(statement.sql, statement.params)
    }

    /// Ends reads and watches, and closes the file. Closing twice has no effect.
    public func shutdown() async throws {
        try await translated { try await ffi.shutdown() }
    }
}
