// Subscriptions to streams on the real engine, offline and with a server that has another stream.
// tests/scenarios/streams.json loads rows.

import Foundation
@testable import Rejoin
import Testing

@Suite struct StreamTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func subscriptionWaitsOfflineAndIsListedUntilItEnds() async throws {
        let client = try await localClient(folder)
        let project = try await client.sync.subscribe("project", ["project": 42], ttl: .seconds(7_200), priority: 1)
        #expect(project.stream == "project" && project.parameters == ["project": "42"] && project.status == .waiting)
        let listed = SubscribedStream(
            stream: "project", parameters: ["project": "42"], priority: 1, ttl: .seconds(7_200), ends: nil, status: .waiting)
        #expect(client.sync.subscriptions == [listed])
        try await watched {
            for await list in client.sync.subscriptionUpdates {
                #expect(list == [listed])
                break
            }
        }
        for _ in 0..<2 { project.release() }
        #expect(client.sync.subscriptions.count == 1 && client.sync.subscriptions[0].ends != nil)
        #expect(kind(await thrown { try await project.firstSync(timeout: .zero) }) == "invalidInput")
        let again = try await client.sync.subscribe("project", ["project": "42"])
        for _ in 0..<2 { try await again.unsubscribe() }
        #expect(client.sync.subscriptions.isEmpty)
    }

    @Test func parametersAreTextsIntegersAndUUIDs() async throws {
        let client = try await localClient(folder)
        let id = UUID()
        let all = try await client.sync.subscribe("all", ["a": "x", "b": Int64.min, "c": id, "d": UInt32.max, "e": Int32(-7)])
        let texts = ["a": "x", "b": "-9223372036854775808", "c": id.uuidString.lowercased(), "d": "4294967295", "e": "-7"]
        #expect(all.parameters == texts && client.sync.subscriptions[0].parameters == texts)
        let wrong: [@Sendable () async throws -> StreamSubscription] = [
            { try await client.sync.subscribe("all", ttl: .seconds(-1)) },
            { try await client.sync.subscribe("") },
            { try await client.sync.subscribe("all", ["a": String(repeating: "x", count: 7_000)]) },
        ]
        for subscribe in wrong { #expect(kind(await thrown { _ = try await subscribe() }) == "invalidInput") }
    }

    @Test func serverWithoutTheStreamRefusesTheSubscription() async throws {
        let server = try StoryServer()
        let client = try await device("phone", folder, server)
        try await watched {
            let project = try await client.sync.subscribe("project", ["project": 42])
            guard case RejoinError.subscriptionRefused(let refused)? = await thrown({ try await project.firstSync() }) else {
                Issue.record("not refused")
                return
            }
            #expect(refused.stream == "project" && refused.refusal == .unknownStream && refused.reason.contains(refused.detail))
            #expect(project.status == .refused(code: .unknownStream, message: refused.detail))
        }
    }

    @Test func waitForRowsEndsAtItsTimeoutAndWithItsTask() async throws {
        let server = try StoryServer()
        try server.stop()
        let client = try await device("phone", folder, server)
        try await watched {
            let project = try await client.sync.subscribe("project", ["project": 42])
            for timeout in [Duration.zero, .milliseconds(50)] {
                #expect(kind(await thrown { try await project.firstSync(timeout: timeout) }) == "offline")
            }
            let task = Task { try await project.firstSync() }
            await Task.yield()
            task.cancel()
            #expect(kind(await thrown { try await task.value }) == "CancellationError")
        }
    }

    @Test func releasedObjectReleasesTheSubscription() async throws {
        let client = try await localClient(folder)
        var project: StreamSubscription? = try await client.sync.subscribe("project", ["project": 42])
        #expect(project != nil && client.sync.subscriptions[0].ends == nil)
        project = nil
        #expect(client.sync.subscriptions[0].ends != nil)
    }
}
