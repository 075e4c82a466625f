// Syncing with a real server in a process of its own: a test for each call that has to do with it.

import Foundation
@testable import Rejoin
import Testing

@Suite struct SyncTests {
    private let folder: Folder
    private let server: StoryServer

    init() throws {
        folder = try Folder()
        server = try StoryServer()
    }

    @Test func whatIsWrittenReachesTheServerAndWhatIsThereComes() async throws {
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "from the phone")
        try server.write("INSERT INTO task (id, user_id, title) VALUES ('b', 'u1', 'from elsewhere')")
        let report = try await client.syncAndWait(timeout: .seconds(30))
        #expect(report.parked == 0 && report.stillPending == 0)
        #expect(try await client.titles() == ["from the phone", "from elsewhere"])
        #expect(try server.column("SELECT title FROM task ORDER BY id") == ["from the phone", "from elsewhere"])
        #expect(client.status.firstSync == .done)
    }

    @Test func pendingTellsWhatWaits() async throws {
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "one")
        try await client.execute("UPDATE task SET rank = 5 WHERE id = ?", ["a"])
        let pending = try await client.pending()
        #expect(pending.map(\.state) == [.pending, .pending])
        #expect(pending[0].rows[0].operation == .insert && pending[0].rows[0].key == .text("a"))
        #expect(pending[1].rows[0].columns == [PendingColumn(name: "rank", old: .integer(0), new: .integer(5))])
        #expect(abs(pending[0].written.timeIntervalSinceNow) < 60)
        #expect(try await client.pendingCounts() == PendingCounts(pending: 2, sent: 0, uncertain: 0, parked: 0))
        #expect(try await client.rowSyncState("task", key: "a") == .pending)
        #expect(try await client.rowSyncState("task", key: "b") == .synced)
        #expect(kind(await thrown { _ = try await client.rowSyncState("sqlite_schema", key: 1) }) == "invalidInput")
    }

    @Test func aTransactionIsOneMutation() async throws {
        let client = try await device("phone", folder, server)
        try await client.transaction { tx in
            for id in ["a", "b", "c"] {
                try await tx.execute("INSERT INTO task (id, user_id, title) VALUES (?, 'u1', ?)", [id, id])
            }
        }
        #expect(try await client.pending().map(\.rows.count) == [3])
    }

    @Test func theVerdictIsWaitedFor() async throws {
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "good")
        try await client.insertTask("b", "refused")
        let ids = try await client.pending().map(\.id)
        #expect(try await client.verdict(ids[0], timeout: .seconds(30)) == .accepted)
        guard case .parked(.rejected, _) = try await client.verdict(ids[1], timeout: .seconds(30)) else {
            throw Own("the server took what it refuses")
        }
        #expect(try await client.pending().map(\.state) == [.parked])
        #expect(try await client.verdict(UUID().uuidString.lowercased(), timeout: .seconds(5)) == .unknown)
    }

    @Test func whatIsDiscardedLeavesTheRows() async throws {
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "given up")
        try await client.discard(try await client.pending()[0].id)
        #expect(try await client.titles() == [])
        #expect(try await client.pending().isEmpty)
        #expect(kind(await thrown { try await client.discard("nonsense") }) == "invalidInput")
    }

    @Test func syncingRunsInTheBackgroundUntilItIsStopped() async throws {
        let client = try await device("phone", folder, server)
        try await watched {
            try await client.start()
            try await client.waitForFirstSync(timeout: .seconds(30))
            try await client.insertTask("a", "one")
            let id = try await client.pending().first?.id
            if let id { #expect(try await client.verdict(id, timeout: .seconds(30)) == .accepted) }
            try await client.stop()
            try await client.insertTask("b", "two")
            #expect(try await client.pendingCounts().pending == 1)
            try await client.syncNow()
            for await status in client.statusUpdates {
                if case .upToDate = status.state, try await client.pendingCounts().pending == 0 { break }
            }
        }
        #expect(try server.column("SELECT id FROM task ORDER BY id") == ["a", "b"])
    }

    @Test func withoutAServerSyncingSaysSo() async throws {
        try server.stop()
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "kept")
        #expect(kind(await thrown { try await client.syncAndWait(timeout: .seconds(20)) }) == "offline")
        guard case .offline(let retryAt, _) = client.status.state else { throw Own("\(client.status)") }
        #expect((retryAt ?? .distantPast) > Date())
        try server.go()
        #expect(try await client.syncAndWait(timeout: .seconds(30)).stillPending == 0)
        #expect(try server.column("SELECT title FROM task") == ["kept"])
    }

    @Test func aClientWithoutAServersAddressCannotStart() async throws {
        let client = try await localClient(folder)
        #expect(kind(await thrown { try await client.start() }) == "invalidInput")
        #expect(kind(await thrown { try await client.syncAndWait() }) == "invalidInput")
    }

    @Test func cancellingEndsAWaitForTheNetwork() async throws {
        try server.hang()
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "kept")
        let id = try await client.pending()[0].id
        try await watched(8) {
            let waits: [@Sendable () async throws -> Void] = [
                { try await client.syncAndWait() }, { try await client.waitForFirstSync() },
                { _ = try await client.verdict(id) },
            ]
            for wait in waits {
                let task = Task { try await wait() }
                for await status in client.statusUpdates where status.state != .idle { break }
                task.cancel()
                let result = await task.result
                #expect(throws: CancellationError.self) { try result.get() }
            }
        }
    }

    @Test func whatWasGivenUpDoesNotKeepTheClient() async throws {
        try server.stop()
        var client: RejoinClient? = try await device("phone", folder, server)
        try await client?.insertTask("a", "kept")
        let id = try #require(try await client?.pending().first?.id)
        try await giveUp(try #require(client), id)
        client = nil
        // Another configuration: as long as anything holds the client, the file cannot be opened with it.
        try await watched(20) {
            while true {
                do {
                    let again = try await device("phone", folder, server) { $0.readers = 2 }
                    return #expect(try await again.titles() == ["kept"])
                } catch RejoinError.configuration { await Task.yield() }
            }
        }
    }

    private func giveUp(_ client: RejoinClient, _ id: String) async throws {
        let tasks = (0..<20).flatMap { _ in
            [Task { _ = try await client.verdict(id, timeout: nil, slice: 300) }, Task { try await client.waitForFirstSync() }]
        }
        for await status in client.statusUpdates where status.state != .idle { break }
        for task in tasks { task.cancel() }
        for task in tasks {
            let result = await task.result
            #expect(throws: CancellationError.self) { try result.get() }
        }
    }

    @Test func aWaitOutlastsItsSlicesAndEndsByItsTimeout() async throws {
        try server.stop()
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "kept")
        let id = try await client.pending()[0].id
        try await watched {
            let late = await thrown { _ = try await client.verdict(id, timeout: .milliseconds(120), slice: 50) }
            #expect(kind(late) == "offline" && "\(late!)".contains("no verdict within"))
            #expect(kind(await thrown { try await client.waitForFirstSync(timeout: .milliseconds(120)) }) == "offline")
            #expect(kind(await thrown { try await client.waitForFirstSync(timeout: .zero) }) == "offline")
            async let verdict = client.verdict(id, timeout: nil, slice: 50)
            async let first: Void = client.waitForFirstSync()
            #expect(kind(await thrown { _ = try await client.verdict(id, timeout: .milliseconds(120)) }) == "offline")
            try server.go()
            try await client.syncNow()
            #expect(try await verdict == .accepted)
            try await first
            try await client.stop()
            try await client.waitForFirstSync()
        }
    }

    @Test func aWaitForTheFirstSyncEndsWhereWaitingDoesNotHelp() async throws {
        try server.stop()
        let client = try await device("phone", folder, server)
        try await watched {
            let wait = Task { try await client.waitForFirstSync() }
            for await status in client.statusUpdates where status.state != .idle { break }
            try await client.shutdown()
            let result = await wait.result
            #expect(kind(await thrown { try result.get() }) == "ended")
        }
    }

    @Test func aTimeoutInThePastIsRefused() async throws {
        let client = try await device("phone", folder, server)
        for timeout in [Duration.seconds(-1), .microseconds(-1)] {
            let calls: [@Sendable () async throws -> Void] = [
                { try await client.syncAndWait(timeout: timeout) }, { try await client.waitForFirstSync(timeout: timeout) },
                { _ = try await client.verdict("x", timeout: timeout) },
            ]
            for call in calls {
                let error = try #require(await thrown(call))
                #expect(kind(error) == "invalidInput" && "\(error)".hasPrefix("a timeout of \(timeout)"))
            }
        }
    }

    @Test func theDevicesWordOnTheNetworkIsBelieved() async throws {
        let client = try await device("phone", folder, server)
        client.setNetwork(online: false)
        try await client.start()
        try await watched {
            for await status in client.statusUpdates {
                if case .offline(nil, _) = status.state { break }
            }
            client.setNetwork(online: true)
            for await status in client.statusUpdates {
                if case .upToDate = status.state { break }
            }
            client.foreground()
        }
    }
}
