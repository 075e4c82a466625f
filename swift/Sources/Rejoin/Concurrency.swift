// Concurrency helpers: a lock, and waiting that ends when the task is cancelled.

import Foundation

/// A value behind a lock that is held only briefly.
final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func with<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}

/// Waits for `operation` or for cancellation of the task, whichever comes first.
///
/// Cancelling a Swift task does not stop the engine, so an abandoned operation continues in the background and its result
/// is dropped. Dropping a transaction handle rolls the transaction back.
func abandonable<Result: Sendable>(_ operation: @escaping @Sendable () async throws -> Result) async throws -> Result {
    let waiting = Locked<Waiting<Result>>(.notYet)
    return try await withTaskCancellationHandler {
        try await withCheckedThrowingContinuation { continuation in
            let isCancelled = waiting.with { state in
                if case .over = state { return true }
                state = .caller(continuation)
                return false
            }
            guard !isCancelled else { return continuation.resume(throwing: CancellationError()) }
            Task.detached {
                do {
                    let result = try await translated(operation)
                    waiting.end()?.resume(returning: result)
                } catch {
                    waiting.end()?.resume(throwing: error)
                }
            }
        }
    } onCancel: {
        waiting.end()?.resume(throwing: CancellationError())
    }
}

private enum Waiting<Result: Sendable> {
    case notYet
    case caller(CheckedContinuation<Result, any Error>)
    case over
}

extension Locked {
    /// Returns the continuation to the first caller that ends the wait.
    fileprivate func end<Result>() -> CheckedContinuation<Result, any Error>? where Value == Waiting<Result> {
        with { state in
            defer { state = .over }
            if case .caller(let continuation) = state { return continuation }
            return nil
        }
    }
}
