// The lifecycle of an app on the real engine: the file is closed whenever the app holds no background time.

import Foundation
import Testing

@testable import Rejoin

@Suite struct LifecycleTests {
    private enum Event: CaseIterable { case write, background, expire, foreground }

    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func everyOrderOfFourEventsClosesTheFileAndKeepsTheWrites() async throws {
        let pairs = Event.allCases.flatMap { first in Event.allCases.map { [first, $0] } }
        try await watched(120) {
            try await withThrowingTaskGroup(of: Int.self) { group in
                for first in pairs {
                    group.addTask {
                        for last in pairs { try await follow(first + last) }
                        return pairs.count
                    }
                }
                let followed = try await group.reduce(0, +)
                #expect(followed == 256)
            }
        }
    }

    private func follow(_ order: [Event]) async throws {
        let file = folder.file(order.map { "\($0)" }.joined(separator: "-") + ".db")
        let client = try await localClient(folder) { $0.path = file }
        let time = FakeTime()
        let lifecycle = AppLifecycle(client, time: time)
        let kept = Locked<Set<String>>([])
        await withTaskGroup(of: Void.self) { group in
            for (index, event) in order.enumerated() {
                switch event {
                case .write:
                    group.addTask {
                        let insert: Statement = "INSERT INTO item (id) VALUES (\("\(index)"))"
                        // Refused writes are allowed to be absent; all others must be there.
                        if await thrown({ _ = try await lifecycle.hold { try await client.execute(insert) } }) == nil {
                            kept.with { _ = $0.insert("\(index)") }
                        }
                    }
                case .background: lifecycle.background()
                case .expire: time.expire()
                case .foreground: lifecycle.foreground()
                }
            }
        }
        lifecycle.background()
        await time.hasEnded()
        #expect(!isOpen(file), "\(order)")
        lifecycle.foreground()
        let found = try await lifecycle.hold { try await client.query("SELECT id FROM item ORDER BY id", as: String.self) }
        #expect(Set(found).isSuperset(of: kept.with { $0 }), "\(order)")
        try await client.shutdown()
    }

    @Test func backgroundPushesOnceAndThenClosesTheFile() async throws {
        let server = try StoryServer()
        let client = try await device("phone", folder, server) { $0.pushDebounce = .seconds(60) }
        try await client.start()
        try await client.sync.firstSync()
        try await client.insertTask("a", "written last")
        let time = FakeTime()
        let lifecycle = AppLifecycle(client, time: time)
        lifecycle.background()
        await time.hasEnded()
        #expect(try server.column("SELECT title FROM task") == ["written last"])
        #expect(client.status.state == .suspended && !isOpen(client.path))
        #expect(kind(await thrown { _ = try await client.titles() }) == "suspended")
        lifecycle.foreground()
        #expect(try await lifecycle.hold { try await client.titles() } == ["written last"])
        try await client.shutdown()
    }

    @Test func expiryCutsOffThePushToASilentServer() async throws {
        let server = try StoryServer()
        let client = try await device("phone", folder, server) { $0.pushDebounce = .seconds(60) }
        try await client.start()
        try await client.sync.firstSync()
        try await client.insertTask("a", "kept")
        try server.hang()
        let time = FakeTime()
        let lifecycle = AppLifecycle(client, time: time, lastPush: .seconds(3600))
        lifecycle.background()
        time.expire()
        try await watched(20) { await time.hasEnded() }
        #expect(!isOpen(client.path))
        try server.go()
        lifecycle.foreground()
        let waiting = try await lifecycle.hold { try await client.queue.all().count }
        let sent = try server.column("SELECT title FROM task")
        #expect(waiting == 1 || sent == ["kept"])
        try await client.shutdown()
    }

    @Test func holdReportsAFileThatCannotBeOpenedAndTheNextOneTriesAgain() async throws {
        let client = try await localClient(folder)
        let time = FakeTime()
        let lifecycle = AppLifecycle(client, time: time)
        lifecycle.background()
        await time.hasEnded()
        let aside = folder.file("aside.db")
        try FileManager.default.moveItem(at: client.path, to: aside)
        try Data("no database at all, but long enough to be read as the header of one".utf8).write(to: client.path)
        for _ in 0..<200 {
            #expect(kind(await thrown { try await lifecycle.hold {} }) == "storage")
            #expect(time.isEnded)
        }
        try FileManager.default.removeItem(at: client.path)
        try FileManager.default.moveItem(at: aside, to: client.path)
        #expect(try await lifecycle.hold { try await client.items() } == 0)
        await time.hasEnded()
        #expect(!isOpen(client.path))
        try await client.shutdown()
    }

    @Test func syncInBackgroundOpensSyncsAndClosesTheFile() async throws {
        let server = try StoryServer()
        let client = try await device("phone", folder, server)
        let time = FakeTime()
        let lifecycle = AppLifecycle(client, time: time)
        lifecycle.background()
        await time.hasEnded()
        try server.write("INSERT INTO task (id, user_id, title) VALUES ('r', 'u1', 'remote')")
        #expect(try await lifecycle.syncInBackground())
        await time.hasEnded()
        #expect(!isOpen(client.path))
        try server.stop()
        #expect(try await !lifecycle.syncInBackground(timeout: .milliseconds(200)))
        lifecycle.foreground()
        #expect(try await lifecycle.hold { try await client.titles() } == ["remote"])
        try await client.shutdown()
    }

    @Test func lowPowerMakesEveryNetworkMetered() async throws {
        let server = try StoryServer()
        let client = try await device("phone", folder, server) { $0.metered = .never }
        let lifecycle = AppLifecycle(client, time: FakeTime())
        lifecycle.network(online: true, metered: false)
        lifecycle.lowPower(true)
        try await client.start()
        for await status in client.statusUpdates where status.state == .metered { break }
        lifecycle.lowPower(false)
        try await watched(20) { try await client.sync.firstSync() }
        try await client.shutdown()
    }

    @Test func releasedLifecycleGivesItsTimeBack() async throws {
        let client = try await localClient(folder)
        let time = FakeTime()
        var lifecycle: AppLifecycle? = AppLifecycle(client, time: time)
        lifecycle?.background()
        lifecycle = nil
        try await watched(20) { await time.hasEnded() }
        try await client.shutdown()
    }
}

/// Whether this process holds the file open; without a descriptor there is no lock either.
private func isOpen(_ file: URL) -> Bool {
    let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return descriptors.contains { descriptor in
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(descriptor)")
        return target?.hasPrefix(file.resolvingSymlinksInPath().path) ?? false
    }
}
