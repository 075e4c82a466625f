// Errors at the FFI boundary, in both directions.

internal import RejoinFFI
import Foundation

/// Runs `body`, which calls only the engine, and translates its errors.
///
/// Only the package's own errors and cancellation pass unchanged. Any other error comes from the bindings: a panic of the
/// engine or an unreadable result, both bugs. Rows are decoded outside, so a `DecodingError` is the app's.
func translated<Result: Sendable>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
) async throws -> Result {
    do {
        return try await body()
    } catch {
        throw translation(error)
    }
}

/// The same for synchronous calls.
func translated<Result>(_ body: () throws -> Result) throws -> Result {
    do {
        return try body()
    } catch {
        throw translation(error)
    }
}

private func translation(_ error: any Error) -> any Error {
    switch error {
    case let error as RejoinFFI.RejoinError: RejoinError(error)
    case is RejoinError, is CancellationError: error
    default: RejoinError.internal(reason: String(describing: error))
    }
}

/// Runs a callback of the app and translates its errors for the engine.
func foreign<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
    do {
        return try await body()
    } catch RejoinError.offline(let reason) {
        throw RejoinFFI.RejoinError.Offline(reason: reason)
    } catch {
        throw RejoinFFI.RejoinError.Callback(reason: String(describing: error))
    }
}

extension RejoinError {
    // There is no `default`: a new case does not compile until it is handled here.
    init(_ error: RejoinFFI.RejoinError) {
        switch error {
        case .InvalidInput(let reason): self = .invalidInput(reason: reason)
        case .Action(let reason, let action, let fault, let words):
            self = .action(reason: reason, action: action, fault: ActionFault(fault), words: words)
        case .ActionTooSlow(let reason, let action, let mostMs):
            self = .actionTooSlow(reason: reason, action: action, most: .milliseconds(mostMs))
        case .ActionTooLarge(let reason, let action, let mostBytes):
            self = .actionTooLarge(reason: reason, action: action, mostBytes: Int(mostBytes))
        case .StandsOn(let reason, let id): self = .standsOn(reason: reason, id: id)
        case .Unsent(let reason, let waiting): self = .unsent(reason: reason, waiting: Int(waiting))
        case .Changed(let reason, let rows): self = .changed(reason: reason, rows: rows.map(ChangedRow.init))
        case .Constraint(let reason, let table, let column, let rule):
            self = .constraint(reason: reason, table: table, column: column, rule: rule)
        case .Storage(let reason): self = .storage(reason: reason)
        case .WrongUser(let reason): self = .wrongUser(reason: reason)
        case .Configuration(let reason): self = .configuration(reason: reason)
        case .Suspended(let reason): self = .suspended(reason: reason)
        case .Ended(let reason): self = .ended(reason: reason)
        case .TransactionTimeout(let reason): self = .transactionTimeout(reason: reason)
        case .Offline(let reason): self = .offline(reason: reason)
        case .Unauthorized(let reason): self = .unauthorized(reason: reason)
        case .UpgradeRequired(let reason): self = .upgradeRequired(reason: reason)
        case .Server(let reason, let status, let code, let retryable):
            self = .server(reason: reason, status: Int(status), code: code, retryable: retryable)
        case .Protocol(let reason): self = .protocol(reason: reason)
        case .Callback(let reason): self = .callback(reason: reason)
        case .Internal(let reason): self = .internal(reason: reason)
        }
    }
}

extension RejoinFFI.RejoinError {
    // The exact inverse, so that the engine recognises its own errors when an action's code rethrows them.
    init(_ error: RejoinError) {
        switch error {
        case .invalidInput(let reason): self = .InvalidInput(reason: reason)
        case .action(let reason, let action, let fault, let words):
            self = .Action(reason: reason, action: action, fault: fault.ffi, words: words)
        case .actionTooSlow(let reason, let action, let most):
            self = .ActionTooSlow(reason: reason, action: action, mostMs: UInt32(clamping: most.milliseconds))
        case .actionTooLarge(let reason, let action, let mostBytes):
            self = .ActionTooLarge(reason: reason, action: action, mostBytes: UInt32(clamping: mostBytes))
        case .standsOn(let reason, let id): self = .StandsOn(reason: reason, id: id)
        case .unsent(let reason, let waiting): self = .Unsent(reason: reason, waiting: UInt32(clamping: waiting))
        case .changed(let reason, let rows): self = .Changed(reason: reason, rows: rows.map(\.ffi))
        case .constraint(let reason, let table, let column, let rule):
            self = .Constraint(reason: reason, table: table, column: column, rule: rule)
        case .storage(let reason): self = .Storage(reason: reason)
        case .wrongUser(let reason): self = .WrongUser(reason: reason)
        case .configuration(let reason): self = .Configuration(reason: reason)
        case .suspended(let reason): self = .Suspended(reason: reason)
        case .ended(let reason): self = .Ended(reason: reason)
        case .transactionTimeout(let reason): self = .TransactionTimeout(reason: reason)
        case .offline(let reason): self = .Offline(reason: reason)
        case .unauthorized(let reason): self = .Unauthorized(reason: reason)
        case .upgradeRequired(let reason): self = .UpgradeRequired(reason: reason)
        case .server(let reason, let status, let code, let retryable):
            self = .Server(reason: reason, status: UInt16(clamping: status), code: code, retryable: retryable)
        case .protocol(let reason): self = .Protocol(reason: reason)
        case .callback(let reason): self = .Callback(reason: reason)
        case .internal(let reason): self = .Internal(reason: reason)
        }
    }
}

extension ActionFault {
    init(_ fault: RejoinFFI.ActionFault) {
        self =
            switch fault {
            case .unknown: .unknown
            case .arguments: .arguments
            case .refused: .refused
            case .sameRow: .sameRow
            case .timedOut: .timedOut
            }
    }

    var ffi: RejoinFFI.ActionFault {
        switch self {
        case .unknown: .unknown
        case .arguments: .arguments
        case .refused: .refused
        case .sameRow: .sameRow
        case .timedOut: .timedOut
        }
    }
}

extension ChangedRow {
    init(_ row: RejoinFFI.ChangedRow) {
        func values(_ columns: [ColumnValue]) -> [String: SQLValue] {
            Dictionary(columns.map { ($0.name, SQLValue($0.value)) }) { _, last in last }
        }
        self.init(
            table: row.table, key: SQLValue(row.key), columns: row.columns, wrote: row.wrote.map(values),
            present: row.present.map(values))
    }

    var ffi: RejoinFFI.ChangedRow {
        func columns(_ values: [String: SQLValue]) -> [ColumnValue] {
            values.sorted { $0.key < $1.key }.map { ColumnValue(name: $0.key, value: $0.value.ffi) }
        }
        return RejoinFFI.ChangedRow(
            table: table, key: key.ffi, columns: self.columns, wrote: wrote.map(columns), present: present.map(columns))
    }
}
