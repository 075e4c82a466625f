// SyncMonitor on a fake and on a real client with a server, and what a badge shows.

import Foundation
import Testing

@testable import Rejoin
@testable import RejoinUI

@MainActor
@Suite struct SyncMonitorTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func monitorFollowsTheStatusOfAFake() async throws {
        let fake = FakeDatabase()
        try await watched { @MainActor in
            let monitor = SyncMonitor(fake)
            #expect(monitor.status == fake.status && monitor.counts == nil && monitor.waiting == 0 && monitor.parked == 0)
            fake.report(.offline(retryAt: nil, reason: "no route to the server"))
            await observed { monitor.isOffline }
            #expect(monitor.lastError == "no route to the server")
            fake.report(.connecting)
            await observed { monitor.status.state == .connecting }
            #expect(monitor.lastError == "no route to the server" && !monitor.isOffline)
            fake.report(.upToDate(since: .distantPast))
            await observed { monitor.lastError == nil }
            fake.report(.needsAuth)
            await observed { monitor.lastError?.contains("credentials") == true }
        }
    }

    @Test func monitorCountsTheMutationsOfAClient() async throws {
        let server = try StoryServer()
        let client = try await device("phone", folder, server)
        try await client.settle()
        try await watched { @MainActor in
            let monitor = SyncMonitor(client)
            await observed { monitor.counts != nil }
            #expect(monitor.waiting == 0 && monitor.parked == 0)
            try server.stop()
            try await client.insertTask("a", "good")
            try await client.insertTask("b", "refused")
            await observed { monitor.waiting == 2 }
            _ = try? await client.sync.run(timeout: .seconds(1))
            await observed { monitor.isOffline }
            #expect(monitor.lastError?.isEmpty == false)
            try server.go()
            try await client.settle()
            await observed { monitor.waiting == 0 && monitor.parked == 1 }
        }
    }

    @Test func countsContinueAfterSuspension() async throws {
        let client = try await offlineClient(folder)
        try await client.execute("INSERT INTO task (id) VALUES ('a')")
        try await watched { @MainActor in
            let monitor = SyncMonitor(client)
            await observed { monitor.waiting == 1 }
            try await client.sync.suspend()
            try await client.sync.resume()
            try await client.execute("INSERT INTO task (id) VALUES ('b')")
            await observed { monitor.waiting == 2 }
            #expect(monitor.lastError == nil)
        }
    }

    @Test func releasedMonitorReleasesItsDatabase() async throws {
        var client: RejoinClient? = try await offlineClient(folder)
        let released = Weak(client)
        var monitor = client.map { SyncMonitor($0) }
        let model = Weak(monitor)
        client = nil
        try await watched { @MainActor [monitor] in await observed { monitor?.counts != nil } }
        #expect(released.object != nil)
        monitor = nil
        #expect(model.object == nil)
        try await watched { @MainActor in try await polled { released.object == nil } }
    }

    @Test func badgeNamesEachState() {
        let now = Date()
        let expected: [(SyncState, String, BadgeTone)] = [
            (.idle, "Not syncing", .waiting), (.stopped, "Not syncing", .waiting), (.suspended, "Not syncing", .waiting),
            (.connecting, "Connecting", .active), (.pushing, "Syncing", .active),
            (.applying(done: 5, total: nil, rowsPerSecond: 1), "Syncing", .active),
            (.applying(done: 1, total: 4, rowsPerSecond: 1), "Syncing 25 %", .active),
            (.applying(done: 9, total: 4, rowsPerSecond: 1), "Syncing 100 %", .active),
            (.offline(retryAt: nil, reason: ""), "Offline", .waiting),
            (.waiting(at: now, reason: ""), "Server unavailable", .waiting),
            (.metered, "Waiting for Wi-Fi", .waiting), (.needsAuth, "Sign in to sync", .alert),
            (.upgradeRequired(reason: ""), "Update required", .alert),
            (.failed(reason: "", retryAt: now), "Sync failed", .alert),
            (.upToDate(since: now), "Up to date", .calm),
        ]
        for (state, label, tone) in expected {
            let content = BadgeContent(state, waiting: 0, parked: 0, SyncTexts())
            #expect(content.label == label && content.tone == tone && content.counts == [], "\(state)")
        }
        #expect(
            BadgeContent(.applying(done: 1, total: 4, rowsPerSecond: 1), waiting: 0, parked: 0, SyncTexts()).progress == 0.25)
    }

    @Test func badgeShowsCountsInTheAppsTexts() {
        var texts = SyncTexts()
        texts.offline = "Kein Netz"
        texts.waiting = { "\($0) warten" }
        let waiting = BadgeContent(.offline(retryAt: nil, reason: ""), waiting: 3, parked: 0, texts)
        #expect(waiting == BadgeContent(.offline(retryAt: .distantFuture, reason: "other"), waiting: 3, parked: 0, texts))
        #expect(waiting.label == "Kein Netz" && waiting.counts == ["3 warten"] && waiting.tone == .waiting)
        let parked = BadgeContent(.upToDate(since: .distantPast), waiting: 1, parked: 2, texts)
        #expect(parked.counts == ["1 warten", "2 to review"] && parked.tone == .alert)
        #expect(texts.description(parked.label, parked.counts) == "Sync: Up to date, 1 warten, 2 to review")
    }
}
