// Runs the examples of docs/ios.md on this system; the last test compares the lines. Those in SwiftUI are steps of the
// tutorial in Rejoin.docc, which are compiled against stubs.

import Foundation
import Rejoin
import Testing

@Suite struct GuideTests {
    struct TaskItem: Decodable, Sendable, Equatable { let id: String, title: String, state: String }
    struct TaskList: Sendable {
        let database: any RejoinDatabase
        var items: AsyncThrowingStream<[TaskItem], any Error> {
            database.watch("SELECT id, title, rejoin_row_state('tasks', id) AS state FROM tasks ORDER BY position", as: TaskItem.self)
        }
    }

    private struct FakeDatabase: RejoinDatabase {
        let rows: RowBuffer
        let status = SyncStatus(state: .idle, firstSync: .done)

        func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer { rows }
        func queryMany(_ statements: [Statement]) async throws -> [RowBuffer] { throw Own("not faked") }
        func execute(_ sql: String, _ params: SQLParameters) async throws -> Int { 1 }
        func executeReturning(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer { throw Own("not faked") }
        func executeScript(_ sql: String) async throws { throw Own("not faked") }
        func batch(_ statements: [Statement]) async throws -> [Int] { throw Own("not faked") }
        func perform(_ name: String, json: String) async throws -> Performed { throw Own("not faked") }
        func changes(_ tables: [String]) -> AsyncStream<Change> { AsyncStream { $0.finish() } }
        var statusUpdates: AsyncStream<SyncStatus> { AsyncStream { $0.finish() } }

        func watch(_ sql: String, _ params: SQLParameters) -> AsyncThrowingStream<RowBuffer, any Error> {
            AsyncThrowingStream { continuation in
                continuation.yield(rows)
                continuation.finish()
            }
        }
    }

    @Test func guideExamplesOfStartBackgroundAndShippingRun() async throws {
        let (files, server) = (try Folder(), try StoryServer())
        let (folder, backup, url, user) = (files.url, files.file("backup"), server.url, "ana")
        try FileManager.default.createDirectory(at: backup, withIntermediateDirectories: true)
        let (schema, title, time) = (try server.schema(), "buy milk", FakeTime())

        var config = RejoinConfig(path: folder.appendingPathComponent("user-\(user).db"), server: url)
        config.userID = user
        config.schema = schema
        let client = try await RejoinClient.open(config)
        try await client.start()  // From now on it syncs in the background.
        try await client.execute("INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), \(title))")
        let titles = try await client.query("SELECT title FROM tasks ORDER BY position", as: String.self)
        #expect(titles == ["buy milk"])

        try await watched {
            for try await items in TaskList(database: client).items {
                #expect(items.map(\.title) == ["buy milk"])
                if items[0].state == "synced" { break }  // The server accepted it.
            }
        }

        let lifecycle = AppLifecycle(client, time: time)
        lifecycle.network(online: true, metered: true)  // The path is satisfied; metered: isExpensive or isConstrained.
        lifecycle.network(online: false, metered: false)  // Any other path.
        try await watched {
            for await status in client.statusUpdates { if case .offline(retryAt: nil, _) = status.state { break } }
            lifecycle.network(online: true, metered: false)
            for await status in client.statusUpdates { if case .upToDate = status.state { break } }
        }

        try await watched {
            lifecycle.background()  // scenePhase is .background
            await time.hasEnded()
            #expect(kind(await thrown { _ = try await client.titles("tasks") }) == "suspended")
            #expect(try await lifecycle.syncInBackground())
            try server.stop()
            try await lifecycle.hold { try await client.add("t2", "buy bread") }
            await time.hasEnded()
            #expect(kind(await thrown { _ = try await client.titles("tasks") }) == "suspended")
            lifecycle.foreground()  // scenePhase is .active
            #expect(try await lifecycle.hold { try await client.titles("tasks") } == ["buy milk", "buy bread"])
        }

        try await client.sync.suspend()
        for part in ["", "-wal"] where FileManager.default.fileExists(atPath: client.path.path + part) {
            try FileManager.default.copyItem(atPath: client.path.path + part, toPath: backup.path + "/app.db" + part)
        }
        try await client.sync.resume()
        let restored = try await RejoinClient.open(RejoinConfig(path: backup.appendingPathComponent("app.db")))
        #expect(try await restored.titles("tasks") == ["buy milk", "buy bread"])
        #expect(try await restored.queue.all().count == 1)
        try await restored.shutdown()

        var questions: [String] = []
        func confirm(_ question: String) -> Bool {
            questions.append(question)
            return true
        }
        try await client.stop()
        let unsent = try await client.queue.all()
        if unsent.isEmpty || confirm("\(unsent.count) changes were not sent. Delete them?") {
            try await client.storage.clearForNextUser(discarding: unsent.map(\.id))
        }
        #expect(questions == ["1 changes were not sent. Delete them?"])
        #expect(try await client.titles("tasks") == [])
        #expect(try await client.queue.all().isEmpty)
        try await client.shutdown()
    }

    @Test func guideExampleOfATokenProviderRuns() async throws {
        let (folder, server) = (try Folder(), try StoryServer(tokens: true))
        @Sendable func signIn(again: Bool) async throws -> String { try server.token() }
        var config = RejoinConfig(path: folder.file("tasks.db"), server: server.url)
        config.schema = try server.schema()
        config.tokens = TokenClosure { refresh in try await signIn(again: refresh) }
        let client = try await RejoinClient.open(config)
        try await client.add("t1", "buy milk")
        #expect(try await client.sync.run(timeout: .seconds(30)).accepted == 1)
        try await client.shutdown()
    }

    @Test func guideExamplesOfAScreenForConflictsRun() async throws {
        let (files, server) = (try Folder(), try StoryServer())
        let (tablet, client) = (try await device("tablet", files, server), try await device("phone", files, server))
        for id in ["t1", "t2", "t3"] { try await tablet.add(id, "first") }
        for device in [tablet, client] { try await device.settle() }
        try await tablet.execute("UPDATE tasks SET title = 'theirs', position = 5")
        try await client.execute("UPDATE tasks SET title = 'mine' WHERE id = 't1'")
        try await client.execute("UPDATE tasks SET title = 'mine too' WHERE id = 't2'")
        try await client.execute("UPDATE tasks SET title = \(tooLong) WHERE id = 't3'")  // In conflict first, then rejected.
        try await client.add("t4", tooLong)
        try await client.execute("UPDATE tasks SET position = 7 WHERE id = 't4'")  // Depends on it.
        for device in [tablet, client] { try await device.settle() }
        var shown: [String] = []
        func show(_ line: String) { shown.append(line) }
        func show(_ column: String, mine: SQLValue?, theirs: SQLValue?) {
            if case (.text(let mine), .text(let theirs)) = (mine, theirs) { show("\(column): mine \(mine), theirs \(theirs)") }
        }

        for parked in try await client.queue.parked() {
            if let reason = parked.reason { show("\(reason) \(parked.detail?.message ?? "")") }
            for row in parked.detail?.rows ?? [] {
                for column in row.columns { show(column, mine: row.mine?[column], theirs: row.theirs?[column]) }
            }
        }
        #expect(shown.contains("title: mine mine, theirs theirs"), "\(shown)")
        #expect(shown.contains { $0.hasPrefix("rejected ") && $0.count > "rejected ".count }, "\(shown)")
        #expect(shown.contains { $0.hasPrefix("depends ") }, "\(shown)")

        func keepMine(_ conflict: PendingMutation) async throws { try await client.queue.retry(conflict.id) }
        func takeTheirs(_ parked: PendingMutation) async throws { try await client.queue.discard(parked.id) }
        func change(_ parked: PendingMutation, id: String, title: String) async throws {
            let edited = try await client.queue.edit(parked.id) { tx in
                try await tx.execute("UPDATE tasks SET title = \(title) WHERE id = \(id)")
            }
            if let edited { try await client.queue.retryChain(edited) }  // Those parked because of it.
        }

        let list = try await client.queue.all()
        try await keepMine(list[0])
        try await takeTheirs(list[1])
        try await keepMine(list[2])  // The long title was in conflict; now the server rejects it.
        try await client.queue.retry(list[3].id)  // The server rejects it again.
        try await client.settle()
        let left = try await client.queue.all().filter { $0.reason != .depends }
        #expect(left.map(\.id) == [list[2].id, list[3].id] && left.map(\.reason) == [.rejected, .rejected])
        #expect(left.map(\.attempt) == [2, 2])
        try await change(left[0], id: "t3", title: "changed")
        try await change(left[1], id: "t4", title: "corrected")
        try await watched { repeat { try await client.settle() } while try await !client.queue.all().isEmpty }
        #expect(try server.column("SELECT title || position FROM tasks ORDER BY id") == ["mine5", "theirs5", "changed5", "corrected7"])
    }

    @Test func guideExamplesOfAnAppsTestsRun() async throws {
        let (schema, title) = (try StoryServer().schema(), "buy milk")

        let fake = FakeDatabase(rows: RowBuffer(columns: ["id", "title", "state"], rows: [[.text("t1"), .text("buy milk"), .text("pending")]]))
        for try await items in TaskList(database: fake).items {
            #expect(items == [TaskItem(id: "t1", title: "buy milk", state: "pending")])
        }

        var config = RejoinConfig.temporary()
        config.schema = schema
        let client = try await RejoinClient.open(config)
        try await client.execute("INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), \(title))")
        #expect(try await client.queue.all().count == 1)
        try await client.shutdown()  // Removes the file.
    }

    @Test func guideExamplesMatchThisFile() throws {
        let tutorial = ["TodoApp", "Todo", "TodoList", "NewTodo", "TodoScreen"]
            .map { "swift/Sources/Rejoin/Rejoin.docc/Resources/\($0).swift" }
        try expectExamples(of: "docs/ios.md", inOrderIn: #filePath, or: tutorial, atLeast: 14)
    }
}
