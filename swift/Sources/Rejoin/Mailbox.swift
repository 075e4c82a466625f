// What waits between the engine, which never waits for a reader, and a stream that is read by and by.

import Foundation
internal import RejoinFFI

/// What waits for a reader, or the reader who waits. One reads at a time.
final class Mailbox<Letter: Sendable>: Sendable {
    private let state = Locked(State())
    private let settle: @Sendable ([Letter]) -> [Letter]

    private struct State {
        var waiting: [Letter] = []
        var reader: CheckedContinuation<Letter?, Never>?
        var isOver = false
    }

    /// - Parameter settle: makes less of what waits, so that nothing piles up; asked after each letter.
    init(_ settle: @escaping @Sendable ([Letter]) -> [Letter]) { self.settle = settle }

    func put(_ letter: Letter) {
        let reader = state.with { state -> CheckedContinuation<Letter?, Never>? in
            guard !state.isOver else { return nil }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            state.waiting.append(letter)
            state.waiting = settle(state.waiting)
            return nil
        }
        reader?.resume(returning: letter)
    }

    /// The next letter; `nil` once it is over and all is read.
    func next() async -> Letter? {
        await withCheckedContinuation { continuation in
            let (answer, replaced) = state.with { state -> (Letter??, CheckedContinuation<Letter?, Never>?) in
                if !state.waiting.isEmpty { return (.some(state.waiting.removeFirst()), nil) }
                if state.isOver { return (.some(nil), nil) }
                defer { state.reader = continuation }
                return (nil, state.reader)
            }
            // Two readers of one stream: the first gets nothing more.
            replaced?.resume(returning: nil)
            if let answer { continuation.resume(returning: answer) }
        }
    }

    func end() {
        let reader = state.with { state -> CheckedContinuation<Letter?, Never>? in
            state.isOver = true
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(returning: nil)
    }
}

/// A mailbox and what fills it; ends at the latest when nobody reads.
final class MailReader<Letter: Sendable>: Sendable {
    private let mailbox: Mailbox<Letter>
    private let subscription: Subscription

    init(_ mailbox: Mailbox<Letter>, _ subscription: Subscription) {
        self.mailbox = mailbox
        self.subscription = subscription
    }

    deinit { cancel() }

    func next() async -> Letter? { await mailbox.next() }

    func cancel() {
        subscription.cancel()
        mailbox.end()
    }
}
