// Errors on their way over the border, both ways.

internal import RejoinFFI
import Foundation

/// Runs `body`, which asks the engine and nobody else, and translates what it throws.
///
/// Only the package's own errors and cancellation pass as they are. Anything else is the bindings saying that the engine panicked or
/// that an answer cannot be read, which is a bug and no kind of its own. Rows are decoded outside: a `DecodingError` is the app's.
func translated<Result: Sendable>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
) async throws -> Result {
    do {
        return try await body()
    } catch {
        throw translation(error)
    }
}

/// The same for what does not wait.
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

/// Runs a function of the app and translates what it throws for the engine.
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
    // No default: a new kind must be given a meaning before this compiles.
    init(_ error: RejoinFFI.RejoinError) {
        switch error {
        case .InvalidInput(let reason): self = .invalidInput(reason: reason)
        case .Action(let reason, _, _, _), .StandsOn(let reason, _), .Unsent(let reason, _), .Changed(let reason, _):
            self = .invalidInput(reason: reason)
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
