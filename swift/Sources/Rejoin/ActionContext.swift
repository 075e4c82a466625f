// The context passed to an action's code.

import Foundation
internal import RejoinFFI

/// The context of one run of an action: access to the rows of its transaction, and a time and ids that are the same in
/// each run.
///
/// Statements run one after the other, in call order. All must be awaited before the code ends; later calls throw.
public final class ActionContext: RejoinWriter {
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

    /// The same as text in the format of all columns (`2026-01-02T03:04:05.000000Z`); equal to `rejoin_now()` in the
    /// action's statements.
    public var time: String { ffi.time() }

    /// The id of this run's mutation.
    public var mutationID: PendingMutation.ID { ffi.mutationId() }

    /// Runs one statement and returns the number of changed rows.
    ///
    /// - Throws: as ``RejoinClient/execute(_:_:)``, and ``RejoinError/invalidInput(_:)`` for anything that could
    ///   differ between runs: tables that are not synced, random values, clocks, connection counters and rowids.
    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters) async throws -> Int {
        Int(try await translated { try await ffi.execute(sql: sql, params: params.ffi) })
    }

    /// Returns the rows of a statement, which may also write (`RETURNING`). It sees the action's writes. Use `ORDER BY`
    /// if more than one row is possible.
    ///
    /// - Throws: as ``execute(_:_:)``.
    public func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await translated { try RowBuffer(await ffi.query(sql: sql, params: params.ffi)) }
    }

    /// Returns the id for a row that this action creates: the same in each run, different for each action.
    ///
    /// - Parameter table: a table with a declared identity (``Actions/identity(of:columns:)``,
    ///   ``Actions/projection(of:_:)``).
    /// - Parameter row: at least the columns of the identity, or the input of its projection.
    /// - Throws: ``RejoinError/action(_:)`` with ``ActionFault/sameRow`` if this run already
    ///   received the same id; the action is rolled back even if its code catches the error.
    ///   ``RejoinError/invalidInput(_:)`` if the table has no identity, or the row lacks a column of it.
    public func rowID(of table: String, _ row: ActionArguments) async throws -> String {
        let identity = try projections[table.lowercased()]?(row) ?? row
        let row = try JSONText(identity).text
        return try await translated { try await ffi.rowId(table: table, rowJson: row) }
    }

    /// Returns the error by which the action's code refuses: if thrown, the action is rolled back and `perform` throws
    /// it with this message.
    ///
    /// ```swift
    /// guard left >= wanted else { throw context.refuse("not enough in stock") }
    /// ```
    public func refuse(_ detail: String) -> RejoinError {
        .action(ActionError(reason: "action \(action): \(detail)", action: action, fault: .refused, detail: detail))
    }

    /// Whether the action's code is still running.
    var isOpen: Bool { !isOver.with { $0 } }

    func end() { isOver.with { $0 = true } }
}
