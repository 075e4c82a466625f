// Errors at the FFI boundary, in both directions.

internal import RejoinFFI
import Foundation

/// Runs `body`, which calls only the engine, and translates its errors.
///
/// Only the package's own errors and cancellation pass unchanged. Any other error comes from the bindings: a panic of
/// the engine or an unreadable result, both bugs. Rows are decoded outside, so a `DecodingError` is the app's.
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
    default: RejoinError.internal(PlainError(reason: String(describing: error)))
    }
}

/// Runs a callback of the app and translates its errors for the engine.
func foreign<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
    do {
        return try await body()
    } catch RejoinError.offline(let offline) {
        throw RejoinFFI.RejoinError.Offline(reason: offline.reason)
    } catch {
        throw RejoinFFI.RejoinError.Callback(reason: String(describing: error))
    }
}

extension RejoinError {
    // There is no `default`: a new case does not compile until it is handled here.
    init(_ error: RejoinFFI.RejoinError) {
        self =
            switch error {
            case .InvalidInput(let reason): .invalidInput(PlainError(reason: reason))
            case .Action(let reason, let action, let fault, let detail):
                .action(.init(reason: reason, action: action, fault: ActionFault(fault), detail: detail))
            case .ActionTooSlow(let reason, let action, let limitMs):
                .actionTooSlow(.init(reason: reason, action: action, limit: .milliseconds(limitMs)))
            case .ActionTooLarge(let reason, let action, let limitBytes):
                .actionTooLarge(.init(reason: reason, action: action, limitBytes: Int(limitBytes)))
            case .ParentParked(let reason, let id):
                .parentParked(.init(reason: reason, id: id))
            case .Unsent(let reason, let waiting):
                .unsent(.init(reason: reason, waiting: Int(waiting)))
            case .Changed(let reason, let rows):
                .changed(.init(reason: reason, rows: rows.map(ChangedRow.init)))
            case .Constraint(let reason, let table, let column, let rule):
                .constraint(.init(reason: reason, table: table, column: column, rule: rule))
            case .Storage(let reason): .storage(PlainError(reason: reason))
            case .WrongUser(let reason): .wrongUser(PlainError(reason: reason))
            case .Configuration(let reason): .configuration(PlainError(reason: reason))
            case .Suspended(let reason): .suspended(PlainError(reason: reason))
            case .Closed(let reason): .closed(PlainError(reason: reason))
            case .TransactionTimeout(let reason): .transactionTimeout(PlainError(reason: reason))
            case .Offline(let reason): .offline(PlainError(reason: reason))
            case .Unauthorized(let reason): .unauthorized(PlainError(reason: reason))
            case .UpgradeRequired(let reason): .upgradeRequired(PlainError(reason: reason))
            case .Server(let reason, let status, let code, let retryable):
                .server(.init(reason: reason, status: Int(status), code: code, retryable: retryable))
            case .SubscriptionRefused(let reason, let stream, let refusal, let detail):
                .subscriptionRefused(.init(reason: reason, stream: stream, refusal: RefusalCode(refusal), detail: detail))
            case .Protocol(let reason): .protocol(PlainError(reason: reason))
            case .Callback(let reason): .callback(PlainError(reason: reason))
            case .Internal(let reason): .internal(PlainError(reason: reason))
            }
    }
}

extension RejoinFFI.RejoinError {
    // The exact inverse, so that the engine recognises its own errors when an action's code rethrows them.
    init(_ error: RejoinError) {
        self =
            switch error {
            case .invalidInput(let error): .InvalidInput(reason: error.reason)
            case .action(let error):
                .Action(reason: error.reason, action: error.action, fault: error.fault.ffi, detail: error.detail)
            case .actionTooSlow(let error):
                .ActionTooSlow(
                    reason: error.reason, action: error.action, limitMs: UInt32(clamping: error.limit.milliseconds))
            case .actionTooLarge(let error):
                .ActionTooLarge(
                    reason: error.reason, action: error.action, limitBytes: UInt32(clamping: error.limitBytes))
            case .parentParked(let error): .ParentParked(reason: error.reason, id: error.id)
            case .unsent(let error): .Unsent(reason: error.reason, waiting: UInt32(clamping: error.waiting))
            case .changed(let error): .Changed(reason: error.reason, rows: error.rows.map(\.ffi))
            case .constraint(let error):
                .Constraint(
                    reason: error.reason, table: error.table, column: error.column, rule: error.rule)
            case .storage(let error): .Storage(reason: error.reason)
            case .wrongUser(let error): .WrongUser(reason: error.reason)
            case .configuration(let error): .Configuration(reason: error.reason)
            case .suspended(let error): .Suspended(reason: error.reason)
            case .closed(let error): .Closed(reason: error.reason)
            case .transactionTimeout(let error): .TransactionTimeout(reason: error.reason)
            case .offline(let error): .Offline(reason: error.reason)
            case .unauthorized(let error): .Unauthorized(reason: error.reason)
            case .upgradeRequired(let error): .UpgradeRequired(reason: error.reason)
            case .server(let error):
                .Server(
                    reason: error.reason, status: UInt16(clamping: error.status), code: error.code, retryable: error.retryable)
            case .subscriptionRefused(let error):
                .SubscriptionRefused(
                    reason: error.reason, stream: error.stream, refusal: error.refusal.ffi, detail: error.detail)
            case .protocol(let error): .Protocol(reason: error.reason)
            case .callback(let error): .Callback(reason: error.reason)
            case .internal(let error): .Internal(reason: error.reason)
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
