// The everyday calls on a database as a protocol, so that an app can replace the client in its tests.
//
// Excluded: opening, syncing, transactions and the handles, which only a client has.

import Foundation

/// Reads, writes and watches a database; ``RejoinClient`` is the one of the engine.
///
/// Code that takes `any RejoinDatabase` can be tested with a type of the app:
///
/// ```swift
/// struct Fake: RejoinDatabase {
///     func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
///         RowBuffer(columns: ["id", "title"], rows: [[.text("a"), .text("buy milk")]])
///     }
///     // ...
/// }
/// ```
///
/// The forms with default values and with `Decodable` types call the requirements, so a fake has them too. A
/// requirement of a later release will have a default implementation.
public protocol RejoinDatabase: RejoinWriter {
    /// Runs several queries on the same state; see ``RejoinClient/queryMany(_:)``.
    func queryMany(_ statements: [Statement]) async throws -> [RowBuffer]

    /// Runs one writing statement that returns rows; see ``RejoinClient/executeReturning(_:_:)``.
    func executeReturning(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer

    /// Runs several statements without parameters, all or none; see ``RejoinClient/executeScript(_:)``.
    func executeScript(_ sql: String) async throws

    /// Runs several statements, all or none; see ``RejoinClient/batch(_:)``.
    @discardableResult
    func batch(_ statements: [Statement]) async throws -> [Int]

    /// Performs an action with its arguments as JSON; see ``perform(_:_:)-8a5v5``.
    @discardableResult
    func perform(_ name: String, json: String) async throws -> Performed

    /// The rows of a query now and after each change; see ``RejoinClient/watch(_:_:)``.
    func watch(_ sql: String, _ params: SQLParameters) -> AsyncThrowingStream<RowBuffer, any Error>

    /// The changes of each commit; see ``RejoinClient/changes(_:)``.
    func changes(_ tables: [String]) -> AsyncStream<Change>

    /// The current sync status.
    var status: SyncStatus { get }

    /// The sync status now and after each change; see ``RejoinClient/statusUpdates``.
    var statusUpdates: AsyncStream<SyncStatus> { get }
}

extension RejoinDatabase {
    /// As ``RejoinClient/executeReturning(_:_:)``, with a ``Statement``, usually a literal.
    public func executeReturning(_ statement: Statement) async throws -> RowBuffer {
        try await executeReturning(statement.sql, statement.params)
    }

    /// Performs an action in one transaction. The transaction becomes one mutation that stores the action's name and
    /// arguments. Until the server has accepted it, it runs again when remote changes affect it.
    ///
    /// ```swift
    /// let taken = try await client.perform("take", ["id": "nails", "n": 2])
    /// print(try taken.value(as: Left.self).left)
    /// ```
    ///
    /// Works offline: when it returns, the writes are on disk and in the queue. Cancelling the task has no effect: the
    /// action completes or is refused as a whole, and the caller gets the result.
    ///
    /// - Parameter name: the action's name, from ``RejoinConfig/actions``.
    /// - Parameter arguments: the arguments by parameter name. `Date` is a `time`, `Data` a `blob`.
    /// - Throws: ``RejoinError/action(_:)`` if the action is unknown, an argument is invalid, one of its rules refuses,
    ///   or its code times out. ``RejoinError/actionTooSlow(_:)`` and ``RejoinError/actionTooLarge(_:)`` beyond the
    ///   ``ActionBudget``. Errors of its code, as ``RejoinError/callback(_:)`` if they are not Rejoin's.
    ///   `EncodingError` for arguments that JSON cannot represent. Otherwise as ``RejoinClient/execute(_:_:)``. In all
    ///   cases the action was rolled back.
    @discardableResult
    public func perform(_ name: String, _ arguments: ActionArguments = [:]) async throws -> Performed {
        try await perform(name, json: JSONText(arguments).text)
    }

    /// As ``perform(_:_:)-8a5v5``, with arguments of one type: its properties are the parameters.
    @discardableResult
    public func perform<Arguments: Encodable & Sendable>(_ name: String, _ arguments: Arguments) async throws -> Performed {
        try await perform(name, json: JSONText(arguments).text)
    }

    /// As ``RejoinClient/watch(_:_:)``, with a ``Statement``, usually a literal.
    public func watch(_ statement: Statement) -> AsyncThrowingStream<RowBuffer, any Error> {
        watch(statement.sql, statement.params)
    }

    /// As ``RejoinClient/watch(_:_:)``, with rows as values of a `Decodable` type.
    ///
    /// ```swift
    /// for try await tasks in client.watch("SELECT id, title FROM task WHERE done = \(false)", as: Todo.self) {
    ///     self.tasks = tasks
    /// }
    /// ```
    ///
    /// - Parameter statement: one read-only statement.
    /// - Parameter type: the type of a row, or of the only column; see ``Row/decode(_:)``.
    /// - Throws: in the loop, also `DecodingError` for a row that does not fit.
    public func watch<Value: Decodable & Sendable>(
        _ statement: Statement, as type: Value.Type
    ) -> AsyncThrowingStream<[Value], any Error> {
        let results = watch(statement)
        return AsyncThrowingStream(unfolding: {
            // Each iterator of the stream continues where the last one stopped.
            var iterator = results.makeAsyncIterator()
            return try await iterator.next()?.decode(type)
        })
    }

    /// As ``watch(_:as:)``, with SQL and parameters.
    public func watch<Value: Decodable & Sendable>(
        _ sql: String, _ params: SQLParameters, as type: Value.Type
    ) -> AsyncThrowingStream<[Value], any Error> {
        watch(Statement(sql, params), as: type)
    }

    /// The changes of all tables; see ``RejoinClient/changes(_:)``.
    public func changes() -> AsyncStream<Change> { changes([]) }
}
