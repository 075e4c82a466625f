// A queue between the engine, which never waits, and a stream that is read later.

import Foundation
internal import RejoinFFI

/// Queued values, or the waiting reader. One reader at a time.
final class Mailbox<Letter: Sendable>: Sendable {
    private let state = Locked(State())
    private let settle: @Sendable ([Letter]) -> [Letter]

    private struct State {
        var waiting: [Letter] = []
        var reader: CheckedContinuation<Letter?, Never>?
        var isOver = false
    }

    /// - Parameter settle: compacts the queued values so that memory stays bounded; called after each value.
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

    /// The next value; `nil` after the end, once all values are read.
    func next() async -> Letter? {
        await withCheckedContinuation { continuation in
            let (answer, replaced) = state.with { state -> (Letter??, CheckedContinuation<Letter?, Never>?) in
                if !state.waiting.isEmpty { return (.some(state.waiting.removeFirst()), nil) }
                if state.isOver { return (.some(nil), nil) }
                defer { state.reader = continuation }
                return (nil, state.reader)
            }
            // A second reader replaces the first, which gets nil.
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

/// A mailbox and the subscription that fills it; cancelled at the latest when the stream is released.
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
