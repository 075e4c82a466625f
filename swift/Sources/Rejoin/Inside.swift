// Tracks whether a task runs inside a transaction or an action, per file.
//
// A call that would wait for its own transaction or action is rejected at once.

import Foundation
internal import RejoinFFI

/// The transaction or action that a task runs in. Child tasks inherit it, and may outlive it.
final class Inside: Sendable {
    @TaskLocal static var current: Inside?

    enum Place: Sendable { case transaction, action }

    private let place: Place
    /// The file; all clients of a file share one writer.
    private let file: URL
    private let isOpen: @Sendable () -> Bool
    /// The enclosing one, of another file.
    private let outer: Inside?

    init(_ place: Place, of file: URL, isOpen: @escaping @Sendable () -> Bool) {
        self.place = place
        self.file = file
        self.isOpen = isOpen
        outer = Inside.current
    }

    /// The innermost one of this file that has not ended.
    static func open(of file: URL) -> Place? {
        var next = current
        while let inside = next {
            if inside.file == file, inside.isOpen() { return inside.place }
            next = inside.outer
        }
        return nil
    }
}

extension RejoinClient {
    /// Throws if the call would wait for a transaction or an action that this task runs in, of any client of the file.
    func outsideOfTransaction() throws {
        switch Inside.open(of: path) {
        case .transaction:
            throw RejoinError.invalidInput(
                "called from inside a transaction that it would wait for; use the methods of the transaction")
        case .action:
            throw RejoinError.invalidInput(
                "called from inside an action, for whose end it would wait; use the methods of its context")
        case nil: break
        }
    }

    /// Makes a call that may wait for a transaction, and translates its errors.
    func callEngine<Result: Sendable>(_ call: (RejoinFFI.RejoinClient) async throws -> Result) async throws -> Result {
        try outsideOfTransaction()
        return try await translated { try await call(ffi) }
    }
}
