// Transactions with an asynchronous body: committed if and only if the body returns.

import Foundation
@testable import Rejoin
import Testing

@Suite struct TransactionTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private let insert = "INSERT INTO item VALUES (?, 1, NULL)"

    @Test func openSavepointAtTheEndRollsBackTheTransaction() async throws {
        let client = try await localClient(folder)
        try await watched {
            let (inside, later) = (Signal(), Signal())
            let parts = Locked<[Task<Void, any Error>]>([])
            let error = await thrown {
                try await client.transaction { tx in
                    let part = Task {
                        try await tx.savepoint {
                            try await tx.execute(insert, ["half"])
                            await inside.set()
                            await later.wait()
                            throw Own("part")
                        }
                    }
                    parts.with { $0.append(part) }
                    await inside.wait()
                }
            }
            #expect(kind(error) == "invalidInput" && "\(error!)".contains("a part was not ended at the commit"))
            let there = try await client.items()
            #expect(there == 0)
            await later.set()
            let result = await parts.with { $0[0] }.result
            #expect(throws: Own("part")) { try result.get() }
            let still = try await client.items()
            #expect(still == 0)
        }
    }

    @Test func savepointsThatEndOutOfOrderAreNotCommitted() async throws {
        let client = try await localClient(folder)
        try await watched {
            let (outside, inside, leave) = (Signal(), Signal(), Signal())
            let error = await thrown {
                try await client.transaction { tx in
                    async let outer: Void = tx.savepoint {
                        await outside.set()
                        await inside.wait()
                    }
                    await outside.wait()
                    async let inner: Void = tx.savepoint {
                        try await tx.execute(insert, ["a"])
                        await inside.set()
                        await leave.wait()
                    }
                    // The outer savepoint ends while the inner one is open.
                    _ = try? await outer
                    await leave.set()
                    _ = try? await inner
                }
            }
            #expect(kind(error) == "invalidInput")
            let there = try await client.items()
            #expect(there == 0)
        }
    }

    @Test func endedTransactionReportsItsCauseDespiteASavepoint() async throws {
        let client = try await localClient(folder)
        try await watched {
            let (inside, never) = (Signal(), Signal())
            let error = await thrown {
                try await client.transaction { tx in
                    Task {
                        try await tx.savepoint {
                            await inside.set(); await never.wait()
                        }
                    }
                    await inside.wait()
                    // From a task outside of the transaction.
                    try await Task.detached { try await client.sync.suspend() }.value
                }
            }
            #expect(kind(error) == "suspended")
            await never.set()
        }
    }

    @Test func cancellationRollsBackWhateverTheBodyWaitsFor() async throws {
        let client = try await localClient(folder)
        try await watched {
            let inside = Signal()
            let never = Signal()
            let task = Task {
                try await client.transaction { tx in
                    try await tx.execute(insert, ["a"])
                    await inside.set()
                    await never.wait()  // Ignores cancellation.
                }
            }
            await inside.wait()
            task.cancel()
            // The body still waits, but the writer is free.
            try await client.execute(insert, ["b"])
            await never.set()
            let result = await task.result
            #expect(throws: CancellationError.self) { try result.get() }
            #expect(try await client.query("SELECT id FROM item", as: String.self) == ["b"])
        }
    }

    @Test func cancelledTaskStopsWaitingForTheWriter() async throws {
        let client = try await localClient(folder)
        try await watched {
            let (inside, leave, asked) = (Signal(), Signal(), Signal())
            async let first: Void = client.transaction { _ in
                await inside.set()
                await leave.wait()
            }
            await inside.wait()
            let second = Task {
                await asked.set()
                try await client.transaction { tx in _ = try await tx.execute(insert, ["never"]) }
            }
            await asked.wait()
            second.cancel()
            let result = await second.result
            #expect(throws: CancellationError.self) { try result.get() }
            await leave.set()
            try await first
            #expect(try await client.items() == 0)
        }
    }

    @Test func clientWriteInsideATransactionIsRejected() async throws {
        let client = try await localClient(folder)
        let other = try await RejoinClient.open(RejoinConfig(path: folder.file("other.db")))
        try await watched(4) {
            try await client.transaction { tx in
                for (name, call) in waitingCalls(client) {
                    let error = try #require(await thrown(call), "\(name)")
                    #expect(kind(error) == "invalidInput", "\(name)")
                    #expect("\(error)".hasPrefix("called from inside a transaction"), "\(name): \(error)")
                }
                // Child tasks are inside as well; another file is not.
                let child = await Task { try await client.execute(insert, ["a"]) }.result
                #expect(throws: RejoinError.self) { try child.get() }
                try await other.schema.createTable("t", "id TEXT PRIMARY KEY")
                // Still inside across another transaction or another client of the same file.
                let same = try await RejoinClient.open(RejoinConfig(path: folder.file("local.db")))
                try await other.transaction { _ in
                    for inner in [client, same] {
                        #expect(kind(await thrown { try await inner.execute(insert, ["a"]) }) == "invalidInput")
                    }
                }
                #expect(try await client.items() == 0)
                try await tx.execute(insert, ["mine"])
            }
        }
        #expect(try await client.items() == 1)
    }

    @Test func taskMayWriteAfterItsTransactionHasEnded() async throws {
        let client = try await localClient(folder)
        let over = Signal()
        let late = try await client.transaction { tx in
            try await tx.execute(insert, ["a"])
            return Task {
                await over.wait()
                try await client.execute(insert, ["b"])
            }
        }
        await over.set()
        _ = try await late.value
        #expect(try await client.items() == 2)
    }

    @Test func idleTransactionIsRolledBack() async throws {
        let client = try await localClient(folder) { $0.transactionIdle = .milliseconds(100) }
        try await watched {
            let error = await thrown {
                try await client.transaction { tx in
                    try await tx.execute(insert, ["a"])
                    // Another write proceeds only after the idle transaction is rolled back.
                    _ = try await Task.detached { try await client.execute(insert, ["b"]) }.value
                    try await tx.execute(insert, ["c"])
                }
            }
            #expect(kind(error) == "transactionTimeout")
            let written = try await client.query("SELECT id FROM item", as: String.self)
            #expect(written == ["b"])
        }
    }

    @Test func endedTransactionRejectsCalls() async throws {
        let client = try await localClient(folder)
        let kept = try await client.transaction { $0 }
        #expect(kind(await thrown { try await kept.execute(insert, ["a"]) }) == "invalidInput")
    }

    @Test func bodyRunsOnTheCallersActor() async throws {
        let client = try await localClient(folder)
        let counter = try await Counter().count(client)
        #expect(counter == 2)
    }

    private actor Counter {
        private var count = 0

        func count(_ client: RejoinClient) async throws -> Int {
            try await client.transaction { tx in
                count += 1
                try await tx.savepoint { count += 1 }
            }
            return count
        }
    }

    /// Every call that is rejected inside the client's own transaction; the same list as in Kotlin.
    private func waitingCalls(_ client: RejoinClient) -> [(String, @Sendable () async throws -> Void)] {
        [
            ("execute", { try await client.execute(insert, ["a"]) }),
            ("executeReturning", { _ = try await client.executeReturning(insert, ["a"]) }),
            ("executeScript", { try await client.executeScript("") }),
            ("batch", { try await client.batch([]) }),
            ("transaction", { try await client.transaction { _ in } }),
            ("createTable", { try await client.schema.createTable("t", "id TEXT PRIMARY KEY") }),
            ("alterTable", { try await client.schema.alterTable("item", addingColumn: "more TEXT") }),
            ("createIndex", { try await client.schema.createIndex(on: "item", columns: ["n"]) }),
            ("createSearchIndex", { try await client.schema.createSearchIndex(on: "item", columns: ["n"]) }),
            ("dropSearchIndex", { try await client.schema.dropSearchIndex(on: "item") }),
            ("start", { try await client.start() }),
            ("stop", { try await client.stop() }),
            ("now", { try await client.sync.request() }),
            ("run", { try await client.sync.run() }),
            ("firstSync", { try await client.sync.firstSync() }),
            ("credentialsChanged", { try await client.sync.credentialsChanged() }),
            ("pending", { _ = try await client.queue.all() }),
            ("counts", { _ = try await client.queue.counts() }),
            ("rowState", { _ = try await client.queue.rowState("item", key: "a") }),
            ("discard", { try await client.queue.discard("0") }),
            ("verdict", { _ = try await client.queue.verdict("0") }),
            ("perform", { try await client.perform("x") }),
            ("perform of a type", { try await client.perform("x", NoArguments()) }),
            ("retry", { try await client.queue.retry("0") }),
            ("retryChain", { try await client.queue.retryChain("0") }),
            ("edit", { try await client.queue.edit("0") { _ in } }),
            ("edit by statements", { try await client.queue.edit("0", []) }),
            ("discardChain", { try await client.queue.discardChain("0") }),
            ("verdicts", { _ = try await client.queue.verdicts() }),
            ("acknowledgeVerdicts", { try await client.queue.acknowledgeVerdicts(through: 0) }),
            ("history", { _ = try await client.queue.history() }),
            ("undo", { try await client.queue.undo("0") }),
            ("redo", { try await client.queue.redo("0") }),
            ("prune", { try await client.queue.prune(HistoryBounds()) }),
            ("reset", { try await client.storage.reset(keep: .pending) }),
            ("suspend", { try await client.sync.suspend() }),
            ("resume", { try await client.sync.resume() }),
            ("shutdown", { try await client.shutdown() }),
            ("diagnose", { _ = try await client.storage.diagnose() }),
            ("checkpoint", { _ = try await client.storage.checkpoint(.passive) }),
        ]
    }
}
