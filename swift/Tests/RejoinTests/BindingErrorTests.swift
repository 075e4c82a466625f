// What the generated bindings throw of their own, where the engine has a bug: it arrives as one of the package's errors.

import Foundation
@testable import Rejoin
import RejoinFFI
import Testing

@Suite struct BindingErrorTests {
    @Test func whatTheBindingsThrowOfTheirOwnIsInternal() async throws {
        // The bytes of something else, read as a status: the error is of a type that nobody outside of the bindings can name.
        let unreadable = await thrown {
            try translated { _ = try FfiConverterTypeSyncStatus_lift(FfiConverterTypePatchKind_lower(.insert)) }
        }
        #expect(kind(unreadable) == "internal" && !"\(unreadable!)".isEmpty)
        let panicked = await thrown { try await Transaction(Panicking(noHandle: .init())).execute("DELETE FROM item") }
        #expect(kind(panicked) == "internal" && "\(panicked!)".contains("index out of bounds"))
    }

    @Test func thePackagesOwnErrorsAndCancellationPassAsTheyAre() async throws {
        let table: [(any Error, String)] = [
            (Rejoin.RejoinError.storage(reason: "full"), "storage"), (CancellationError(), "CancellationError"),
            (RejoinFFI.RejoinError.Ended(reason: "over"), "ended"), (Own("of the bindings"), "internal"),
        ]
        for (error, expected) in table {
            #expect(kind(await thrown { try translated { throw error } }) == expected)
            #expect(kind(await thrown { try await translated { () async throws -> Void in
                await Task.yield()
                throw error
            } }) == expected)
        }
    }
}

/// The engine's side of a transaction, as it would be if the engine had a bug.
private final class Panicking: HeldTransaction, @unchecked Sendable {
    override func execute(sql: String, params: [SqlValue]) async throws -> Int64 { throw Own("index out of bounds") }
}
