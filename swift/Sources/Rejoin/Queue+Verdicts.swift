// Verdicts of mutations, reported until the app acknowledges them.
//
// Unacknowledged verdicts are reported again to the next stream and after a restart (at-least-once). A slow reader gets
// merged batches, as much as the file keeps.

import Foundation
internal import RejoinFFI

/// How an attempt of a mutation ended.
public enum VerdictKind: Sendable, Hashable {
    /// The server accepted it, and the rows show it.
    case accepted
    /// It was not accepted and waits for the app's decision; the reason says why.
    case parked
    /// The app discarded it after it was sent, and the server has answered. If the server had accepted it, `becauseOf`
    /// names the mutation that reverts it.
    case withdrawn
    /// In the log model: it was accepted earlier, and the authority has run it again after earlier changes arrived. It
    /// now has the effect that `detail` shows.
    case corrected
}

/// The verdict on one attempt of a mutation.
public struct VerdictEntry: Sendable, Hashable, Identifiable {
    /// Ascending and never reused; for ``QueueHandle/acknowledgeVerdicts(through:)``.
    public let number: Int64
    /// The mutation's id.
    public let id: PendingMutation.ID
    /// The attempt's number, from 1: ``QueueHandle/retry(_:)`` starts another attempt with its own verdict.
    public let attempt: Int
    /// How the attempt ended.
    public let kind: VerdictKind
    /// Why it is parked, if it is.
    public let reason: ParkReason?
    /// The mutation that caused the parking, or that reverts this one.
    public let becauseOf: PendingMutation.ID?
    /// The action's name; `nil` for plain SQL.
    public let action: String?
    /// The server's message and, for a conflict, both versions of each row. `nil` if there is none or it exceeds 64 KiB;
    /// then see the `detail` of ``QueueHandle/all()``.
    public let detail: VerdictDetail?
    /// When it arrived, by the device's clock.
    public let at: Date
}

/// Verdicts that the app has not acknowledged.
public struct Verdicts: Sendable, Hashable {
    /// Oldest first.
    public let entries: [VerdictEntry]
    /// Number of earlier verdicts that were dropped: only the newest 10,000 are kept.
    public let missed: Int
}

extension QueueHandle {
    /// Returns the verdicts that the app has not acknowledged, oldest first. Each attempt that ended has one entry. It
    /// is stored in the file when it arrives, so no crash or restart loses it.
    ///
    /// - Parameter limit: maximum number of verdicts.
    /// - Throws: ``RejoinError/invalidInput(_:)`` for a negative number.
    public func verdicts(_ limit: Int = 100) async throws -> Verdicts {
        let limit = try number(limit, "limit")
        return Verdicts(try await client.callEngine { try await $0.verdicts(limit: limit) })
    }

    /// Acknowledges the verdicts up to this number; they are not reported again.
    ///
    /// - Parameter number: the ``VerdictEntry/number`` of the last one.
    public func acknowledgeVerdicts(through number: Int64) async throws {
        try await client.callEngine { try await $0.acknowledgeVerdicts(through: number) }
    }

    /// The unacknowledged verdicts, then new ones as they arrive, each once per stream, until the client is shut down.
    ///
    /// ```swift
    /// for await news in client.queue.watchVerdicts() {
    ///     for verdict in news.entries where verdict.kind == .parked { show(verdict.id, because: verdict.reason) }
    ///     if let last = news.entries.last { try await client.queue.acknowledgeVerdicts(through: last.number) }
    /// }
    /// ```
    ///
    /// Unacknowledged verdicts are reported again to the next stream and after a restart. Leaving the loop or
    /// cancelling its task ends the stream.
    public func watchVerdicts() -> AsyncStream<Verdicts> {
        let mailbox = Mailbox<Verdicts> { $0.count > 1 ? [Verdicts(together: $0)] : $0 }
        let observer = VerdictBridge {
            mailbox.put($0)
        } end: {
            mailbox.end()
        }
        let reader = MailReader(mailbox, client.ffi.watchVerdicts(observer: observer))
        return AsyncStream {
            await reader.next()
        } onCancel: {
            reader.cancel()
        }
    }
}

extension Verdicts {
    /// Number of verdicts kept in the file until acknowledged, and in a stream until read.
    static let kept = 10_000

    init(together parts: [Verdicts]) {
        let all = parts.flatMap(\.entries)
        entries = all.suffix(Self.kept)
        missed = parts.map(\.missed).reduce(0, +) + all.count - entries.count
    }
}

/// Converts a number for the engine.
func number(_ value: Int, _ name: String) throws -> UInt32 {
    guard value >= 0 else { throw RejoinError.invalidInput("\(name): \(value) is below zero") }
    return UInt32(clamping: value)
}
