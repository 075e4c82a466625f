// How mutations ended, told until the app has said that it knows.
//
// Promise: what was not acknowledged is told again, to the next stream and after the next start: at least once. A slow reader gets what
// came meanwhile together, as much of it as the file keeps.

import Foundation
internal import RejoinFFI

/// How an attempt of a mutation ended.
public enum VerdictKind: Sendable, Hashable {
    /// The server has it, and the rows show it.
    case accepted
    /// It was not accepted, and waits for the app's decision; the reason says why.
    case parked
    /// The app gave it up after it was sent, and the server's word is here. If it had it, `becauseOf` names the mutation that takes it
    /// back.
    case withdrawn
}

/// The end of one attempt of a mutation.
public struct VerdictEntry: Sendable, Hashable, Identifiable {
    /// Rises, and is never given again; for ``RejoinClient/acknowledgeVerdicts(through:)``.
    public let number: Int64
    /// The mutation's name.
    public let id: PendingMutation.ID
    /// Which of its attempts, from 1: ``RejoinClient/retry(_:)`` makes another, which has an end of its own.
    public let attempt: Int
    /// How it ended.
    public let kind: VerdictKind
    /// Why it is parked, if it is.
    public let reason: ParkReason?
    /// The mutation that parked it, or takes it back.
    public let becauseOf: PendingMutation.ID?
    /// The action's name; `nil` for plain SQL.
    public let action: String?
    /// The server's words, and both rows of a conflict, as JSON. `nil` if there are none or more than 64 KiB: then they stand in the
    /// `detail` of ``RejoinClient/pending()``.
    public let detail: String?
    /// When it came, by the device's clock.
    public let date: Date
}

/// Verdicts that the app has not acknowledged.
public struct Verdicts: Sendable, Hashable {
    /// Oldest first.
    public let entries: [VerdictEntry]
    /// How many before them are not kept any more: the newest 10,000 are.
    public let missed: Int
}

extension RejoinClient {
    /// How mutations ended that the app has not acknowledged, oldest first. Each end of each attempt is one entry, in the file since the
    /// moment when it came: no crash and no restart loses one.
    ///
    /// - Parameter most: so many at most.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a number below zero.
    public func verdicts(_ most: Int = 100) async throws -> Verdicts {
        try outsideOfTransaction()
        let most = try number(most, "most")
        return Verdicts(try await translated { try await ffi.verdicts(most: most) })
    }

    /// Says that the app has dealt with the verdicts up to this one: they are not told again.
    ///
    /// - Parameter number: the ``VerdictEntry/number`` of the last.
    public func acknowledgeVerdicts(through number: Int64) async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.acknowledgeVerdicts(through: number) }
    }

    /// The verdicts that are not acknowledged, and then new ones as they come, each once to each stream, until the client is shut down.
    ///
    /// ```swift
    /// for await news in client.watchVerdicts() {
    ///     for verdict in news.entries where verdict.kind == .parked { show(verdict.id, because: verdict.reason) }
    ///     if let last = news.entries.last { try await client.acknowledgeVerdicts(through: last.number) }
    /// }
    /// ```
    ///
    /// What was not acknowledged when the loop is left is told again to the next stream, and after the next start. Leaving the loop, and
    /// cancelling its task, end it.
    public func watchVerdicts() -> AsyncStream<Verdicts> {
        let mailbox = Mailbox<Verdicts> { $0.count > 1 ? [Verdicts(together: $0)] : $0 }
        let observer = VerdictBridge { mailbox.put($0) } end: { mailbox.end() }
        let reader = MailReader(mailbox, ffi.watchVerdicts(observer: observer))
        return AsyncStream {
            await reader.next()
        } onCancel: {
            reader.cancel()
        }
    }
}

extension Verdicts {
    /// The file keeps so many for an app that does not ask, and a stream for a reader that does not come.
    static let kept = 10_000

    init(together parts: [Verdicts]) {
        let all = parts.flatMap(\.entries)
        entries = all.suffix(Self.kept)
        missed = parts.map(\.missed).reduce(0, +) + all.count - entries.count
    }
}

/// A number as the engine takes it.
func number(_ value: Int, _ name: String) throws -> UInt32 {
    guard value >= 0 else { throw RejoinError.invalidInput(reason: "\(name): \(value) is below zero") }
    return UInt32(clamping: value)
}
