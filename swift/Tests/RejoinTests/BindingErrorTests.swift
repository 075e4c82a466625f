// Errors that only the generated bindings throw, after a bug of the engine, become errors of the package.

import Foundation
@testable import Rejoin
import RejoinFFI
import Testing

@Suite struct BindingErrorTests {
    @Test func errorOfTheBindingsBecomesInternal() async throws {
        // The bytes of another type, decoded as a status: the bindings throw an error of a private type.
        let unreadable = await thrown {
            try translated { _ = try FfiConverterTypeSyncStatus_lift(FfiConverterTypePatchKind_lower(.insert)) }
        }
        #expect(kind(unreadable) == "internal" && !"\(unreadable!)".isEmpty)
        let panicked = await thrown { try await WriteTransaction(Panicking(noHandle: .init())).execute("DELETE FROM item") }
        #expect(kind(panicked) == "internal" && "\(panicked!)".contains("index out of bounds"))
    }

    @Test func everyErrorCaseRoundTripsAcrossTheFFIBoundary() {
        let row = RejoinFFI.ChangedRow(
            table: "task", key: .text(value: "a"), columns: ["title"],
            wrote: [ColumnValue(name: "id", value: .text(value: "a")), ColumnValue(name: "title", value: .null)], present: nil)
        let faults: [RejoinFFI.ActionFault] = [.unknown, .arguments, .refused, .sameRow, .timedOut]
        let actions = faults.map { RejoinFFI.RejoinError.Action(reason: "r", action: "take", fault: $0, detail: "w") }
        let refusals: [RejoinFFI.RefusalCode] = [.unknownStream, .invalidParameter, .forbidden, .queryFailed, .unknown]
        let refused = refusals.map { RejoinFFI.RejoinError.SubscriptionRefused(reason: "r", stream: "s", refusal: $0, detail: "m") }
        let table: [RejoinFFI.RejoinError] = [
            .InvalidInput(reason: "r"), .Constraint(reason: "r", table: "t", column: "c", rule: "UNIQUE"), .ParentParked(reason: "r", id: "i"),
            .ActionTooSlow(reason: "r", action: "take", limitMs: 2_000), .ActionTooLarge(reason: "r", action: "take", limitBytes: .max),
            .Unsent(reason: "r", waiting: 2), .Changed(reason: "r", rows: [row]), .Storage(reason: "r"), .WrongUser(reason: "r"),
            .Configuration(reason: "r"), .Suspended(reason: "r"), .Closed(reason: "r"), .TransactionTimeout(reason: "r"),
            .Offline(reason: "r"), .Unauthorized(reason: "r"), .UpgradeRequired(reason: "r"),
            .Server(reason: "r", status: 503, code: "busy", retryable: true), .Protocol(reason: "r"), .Callback(reason: "r"),
            .Internal(reason: "r"),
        ]
        let all = table + actions + refused
        let own = all.map { Rejoin.RejoinError($0) }
        #expect(own.map { RejoinFFI.RejoinError($0) } == all)
        #expect(own.allSatisfy { $0.reason == "r" })
        // The same cases by name, all different.
        let kinds = own.prefix(table.count).map { kind($0) }
        #expect(kinds == table.map { lowered(Mirror(reflecting: $0).children.first?.label ?? "") })
        #expect(Set(kinds).count == table.count)
        #expect(own.prefix(table.count).map(\.code) == table.map { Mirror(reflecting: $0).children.first?.label ?? "" })
        #expect(own.prefix(3).map(\.code) == ["InvalidInput", "Constraint", "ParentParked"])
        #expect(Set(own.map(\.code)) == codesOfTypeScript())
    }

    /// The codes that react-native/src/errors.ts lists, one a line: `  | 'Constraint'`.
    private func codesOfTypeScript() -> Set<String> {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../..")
        let file = root.appendingPathComponent("react-native/src/errors.ts").standardizedFileURL
        let lines = ((try? String(contentsOf: file, encoding: .utf8)) ?? "").components(separatedBy: "\n")
        return Set(lines.filter { $0.hasPrefix("  | '") }.map { String($0.dropFirst(5).prefix { $0 != "'" }) })
    }

    private func lowered(_ name: String) -> String { name.prefix(1).lowercased() + name.dropFirst() }

    @Test func ownErrorsAndCancellationPassUnchanged() async throws {
        let table: [(any Error, String)] = [
            (Rejoin.RejoinError.storage("full"), "storage"), (CancellationError(), "CancellationError"),
            (RejoinFFI.RejoinError.Closed(reason: "over"), "closed"), (Own("of the bindings"), "internal"),
        ]
        for (error, expected) in table {
            #expect(kind(await thrown { try translated { throw error } }) == expected)
            #expect(
                kind(
                    await thrown {
                        try await translated { () async throws -> Void in
                            await Task.yield()
                            throw error
                        }
                    }) == expected)
        }
    }
}

/// The engine's side of a transaction, with a simulated bug.
private final class Panicking: HeldTransaction, @unchecked Sendable {
    override func execute(sql: String, params: [SqlValue]) async throws -> Int64 { throw Own("index out of bounds") }
}
