// Where a task stands: in the body of a transaction, or in the code of an action, of one file or of several.
//
// Promise: a call that would wait for the end of what it stands in itself is refused at once. Border: knows nothing of what is done
// there.

import Foundation

/// What a task stands in. Tasks that it starts inherit it, and may outlive it.
final class Inside: Sendable {
    @TaskLocal static var current: Inside?

    enum Place: Sendable { case transaction, action }

    private let place: Place
    /// Whose it is: a file has one writer, however many clients.
    private let file: URL
    private let isOpen: @Sendable () -> Bool
    /// The one in which this one stands, of another file.
    private let outer: Inside?

    init(_ place: Place, of file: URL, isOpen: @escaping @Sendable () -> Bool) {
        self.place = place
        self.file = file
        self.isOpen = isOpen
        outer = Inside.current
    }

    /// The innermost of this file that has not ended.
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
    /// Refuses what would wait for the end of a transaction or an action that it stands in itself, by this client or another of the
    /// file.
    func outsideOfTransaction() throws {
        switch Inside.open(of: path) {
        case .transaction:
            throw RejoinError.invalidInput(
                reason: "called from inside a transaction, for whose end it would wait; use the transaction's own methods")
        case .action:
            throw RejoinError.invalidInput(
                reason: "called from inside an action, for whose end it would wait; use the methods of its context")
        case nil: break
        }
    }
}
