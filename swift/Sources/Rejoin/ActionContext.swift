// What the code of an action is given while it runs. Border: begins and ends nothing.

import Foundation
internal import RejoinFFI

/// One run of an action, for as long as its code runs: the rows of its transaction, and a time and ids that are the same at each run.
///
/// Statements are done one after the other, in the order in which they were asked for; each must have been waited for when the code
/// ends. Afterwards every call throws.
public final class ActionContext: Sendable {
    private let ffi: RejoinFFI.ActionContext
    private let action: String
    private let projections: [String: Actions.Projection]
    private let isOver = Locked(false)

    init(_ ffi: RejoinFFI.ActionContext, of action: String, _ projections: [String: Actions.Projection]) {
        self.ffi = ffi
        self.action = action
        self.projections = projections
    }

    /// When the action was performed, to the millisecond.
    public var date: Date { Date(millis: ffi.timeMs()) }

    /// The same as text, as all columns write it (`2026-01-02T03:04:05.000000Z`); `rejoin_now()` in the action's statements.
    public var time: String { ffi.time() }

    /// The id of the mutation that this run makes, or made.
    public var mutationID: PendingMutation.ID { ffi.mutationId() }

    /// Runs one statement, and tells how many rows it changed.
    ///
    /// - Throws: as ``RejoinClient/execute(_:_:)`` does, and ``RejoinError/invalidInput(reason:)`` for what an action may not use: tables
    ///   that are not synced, chance, clocks, counters of the connection, rowids.
    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters = []) async throws -> Int {
        Int(try await translated { try await ffi.execute(sql: sql, params: params.ffi) })
    }

    /// The rows of a statement, which may also write (`RETURNING`); it sees what the action wrote. Say `ORDER BY` where more than one
    /// row can come.
    ///
    /// - Throws: as ``execute(_:_:)`` does.
    public func query(_ sql: String, _ params: SQLParameters = []) async throws -> RowBuffer {
        try await translated { try RowBuffer(await ffi.query(sql: sql, params: params.ffi)) }
    }

    /// The rows of a statement as values of a `Decodable` type; see ``Row/decode(_:)`` for what fits.
    public func query<Value: Decodable & Sendable>(_ sql: String, _ params: SQLParameters = [], as type: Value.Type) async throws
        -> [Value]
    {
        try await query(sql, params).decode(type)
    }

    /// The id of a row that this action makes: the same at each run, and another one for each action.
    ///
    /// - Parameter table: a table whose identity was declared (``Actions/identity(of:columns:)``, ``Actions/projection(of:_:)``).
    /// - Parameter row: at least the columns of the identity, or whatever its projection takes.
    /// - Throws: ``RejoinError/action(reason:action:fault:words:)`` with ``ActionFault/sameRow`` if this run was given the id already, and
    ///   nothing of the action is kept whatever its code makes of that; ``RejoinError/invalidInput(reason:)`` if the table has no
    ///   identity, or the row lacks a column of it.
    public func rowID(of table: String, _ row: ActionArguments) async throws -> String {
        let identity = try projections[table.lowercased()]?(row) ?? row
        let row = try JSONText(identity).text
        return try await translated { try await ffi.rowId(table: table, rowJson: row) }
    }

    /// The error by which a rule of the app says no: thrown by the action's code, nothing of it is kept, and whoever performed it is
    /// told these words.
    ///
    /// ```swift
    /// guard left >= wanted else { throw context.refuse("not enough in stock") }
    /// ```
    public func refuse(_ words: String) -> RejoinError {
        .action(reason: "action \(action): \(words)", action: action, fault: .refused, words: words)
    }

    /// Whether its code still runs.
    var isOpen: Bool { !isOver.with { $0 } }

    func end() { isOver.with { $0 = true } }
}
