// Syncing with a real server process: one test per call.

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

    @Test func cancelledTaskEndsAWaitForTheNetwork() async throws {
        try server.hang()
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "kept")
        let id = try await client.queue.all()[0].id
        try await watched(8) {
            let waits: [@Sendable () async throws -> Void] = [
                { try await client.sync.run() }, { try await client.sync.firstSync() },
                { _ = try await client.queue.verdict(id) },
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

    @Test func abandonedCallDoesNotRetainTheClient() async throws {
        try server.stop()
        var client: RejoinClient? = try await device("phone", folder, server)
        try await client?.insertTask("a", "kept")
        let id = try #require(try await client?.queue.all().first?.id)
        try await giveUp(try #require(client), id)
        client = nil
        // Another configuration: the file cannot be opened with it while anything retains the client.
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
            [Task { _ = try await client.queue.verdict(id, timeout: nil, slice: 300) }, Task { try await client.sync.firstSync() }]
        }
        for await status in client.statusUpdates where status.state != .idle { break }
        for task in tasks { task.cancel() }
        for task in tasks {
            let result = await task.result
            #expect(throws: CancellationError.self) { try result.get() }
        }
    }

    @Test func waitSpansItsSlicesAndEndsAtItsTimeout() async throws {
        try server.stop()
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "kept")
        let id = try await client.queue.all()[0].id
        try await watched {
            let late = await thrown { _ = try await client.queue.verdict(id, timeout: .milliseconds(120), slice: 50) }
            #expect(kind(late) == "offline" && "\(late!)".contains("no verdict within"))
            #expect(kind(await thrown { try await client.sync.firstSync(timeout: .milliseconds(120)) }) == "offline")
            #expect(kind(await thrown { try await client.sync.firstSync(timeout: .zero) }) == "offline")
            async let verdict = client.queue.verdict(id, timeout: nil, slice: 50)
            async let first: Void = client.sync.firstSync()
            #expect(kind(await thrown { _ = try await client.queue.verdict(id, timeout: .milliseconds(120)) }) == "offline")
            try server.go()
            try await client.sync.request()
            #expect(try await verdict == .accepted)
            try await first
            try await client.stop()
            try await client.sync.firstSync()
        }
    }

    @Test func firstSyncWaitEndsIfWaitingCannotSucceed() async throws {
        try server.stop()
        let client = try await device("phone", folder, server)
        try await watched {
            let wait = Task { try await client.sync.firstSync() }
            for await status in client.statusUpdates where status.state != .idle { break }
            try await client.shutdown()
            let result = await wait.result
            #expect(kind(await thrown { try result.get() }) == "closed")
        }
    }

    @Test func negativeTimeoutIsRejected() async throws {
        let client = try await device("phone", folder, server)
        for timeout in [Duration.seconds(-1), .microseconds(-1)] {
            let calls: [@Sendable () async throws -> Void] = [
                { try await client.sync.run(timeout: timeout) }, { try await client.sync.firstSync(timeout: timeout) },
                { _ = try await client.queue.verdict("x", timeout: timeout) },
            ]
            for call in calls {
                let error = try #require(await thrown(call))
                #expect(kind(error) == "invalidInput" && "\(error)".hasPrefix("a timeout of \(timeout)"))
            }
        }
    }
}
