// Runs the examples of swift/README.md; the last test compares the lines.

import Foundation
import Rejoin
import Testing

@Suite struct ReadmeTests {
    @Test func firstReadmeExampleRuns() async throws {
        let (folder, server) = (try Folder(), try StoryServer())
        let (file, url, schema) = (folder.file("app.db"), server.url, try server.schema())
        let (printed, shown) = (Output(), Output())
        let title = "buy milk"
        let wasShown = Signal()
        try await prepare(file, url, schema)
        @Sendable func print(_ what: some Any) { printed.add("\(what)") }
        @Sendable func show(_ tasks: RowBuffer) {
            shown.add((try? tasks.first?.get("title", as: String.self)) ?? "no title")
            Task { await wasShown.set() }
        }

        var config = RejoinConfig(path: file, server: url)
        config.userID = "ana"
        config.schema = schema
        let client = try await RejoinClient.open(config)
        try await client.start()  // Syncs in the background from now on; being offline is a status, not an error.
        try await client.execute("INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), \(title))")
        Task {
            for try await tasks in client.watch("SELECT id, title FROM tasks ORDER BY position") { show(tasks) }
        }
        for mutation in try await client.queue.parked() {
            if let reason = mutation.reason { print("\(mutation.id) is parked: \(reason)") }
        }

        try await watched { await wasShown.wait() }
        #expect(shown.all().first == "buy milk")
        let parked = try #require(try await client.queue.all().first { $0.state == .parked })
        #expect(printed.all() == ["\(parked.id) is parked: rejected"])
        try await client.shutdown()
    }

    /// Leaves a file with a parked mutation.
    private func prepare(_ file: URL, _ url: URL, _ schema: String) async throws {
        var config = RejoinConfig(path: file, server: url)
        config.userID = "ana"
        config.schema = schema
        let client = try await RejoinClient.open(config)
        try await client.add("b", tooLong)
        try await client.settle()
        try await client.shutdown()
    }

    @Test func readmeExamplesRun() async throws {
        let (files, server) = (try Folder(), try StoryServer(tokens: true))
        let (folder, url, session) = (files.url, server.url, Session(server))
        let (id, title) = ("a", "buy milk")

        struct Todo: Decodable, Sendable {
            let id: String
            let title: String
            let done: Bool
        }

        var config = RejoinConfig(path: folder.appendingPathComponent("tasks.db"), server: url)
        config.tokens = session
        config.schema = try server.schema()
        let client = try await RejoinClient.open(config)
        try await client.start()

        try await client.execute("INSERT INTO tasks (id, title) VALUES (\(id), \(title))")

        let open: [Todo] = try await client.query("SELECT id, title, done FROM tasks WHERE done = \(false)")
        #expect(open.map(\.title) == ["buy milk"])

        let moved = try await client.transaction { tx in
            let ids = try await tx.query("SELECT id FROM tasks WHERE done = \(false)", as: String.self)
            for id in ids { try await tx.execute("UPDATE tasks SET position = position + 1 WHERE id = \(id)") }
            return ids.count
        }
        #expect(moved == 1)

        @Sendable func show(_ todos: [Todo]) { #expect(todos.count == 1) }
        try await watched {
            for try await todos in client.watch("SELECT id, title, done FROM tasks ORDER BY position", as: Todo.self) {
                show(todos)
                break
            }
        }

        func titles(_ database: any RejoinDatabase) async throws -> [String] {
            try await database.query("SELECT title FROM tasks", as: String.self)
        }
        #expect(try await titles(client) == ["buy milk"])

        try await client.add("b", tooLong)
        do {
            let report = try await client.sync.run(timeout: .seconds(30))
            print("\(report.stillPending) writes wait")
        } catch RejoinError.offline {
            print("offline")  // The queue is unchanged, and syncing continues in the background.
        }
        for await status in client.statusUpdates {
            if case .upToDate = status.state { break }
        }
        for mutation in try await client.queue.parked() {
            try await client.queue.discard(mutation.id)
        }
        #expect(try await client.titles("tasks") == ["buy milk"])
        #expect(try server.column("SELECT title FROM tasks") == ["buy milk"])
    }

    actor Session: TokenProvider {
        private let server: StoryServer
        private var current: String?

        init(_ server: StoryServer) { self.server = server }

        func token(refresh: Bool) async throws -> String? {
            if refresh || current == nil { current = try await signIn() }
            return current
        }

        private func signIn() async throws -> String { try server.token() }
    }

    @Test func readmeExamplesOfGeneratedTypesRun() async throws {
        let folder = try Folder()
        let client = try await offlineClient(folder) {
            $0.schema = generatedFrom("schema.json")
            $0.actions.declare(generatedFrom("take_part.json"))
        }

        var quay = PlacesRow(id: "p1", name: "Quay", in_: true, height: 1.5, visits: 0)
        try await client.execute(quay.insert())
        quay.name = "Pier"
        try await client.execute(quay.update())
        try await client.takePart(part: "p1", quantity: 2)
        let places = try await client.query("SELECT * FROM places", as: PlacesRow.self)
        try await client.execute(PlacesRow.delete(id: "p1"))
        quay.visits = 2
        #expect(places == [quay])
        #expect(try await client.query("SELECT count(*) FROM places", as: Int.self) == [0])
    }

    @Test func readmeExamplesOfActionsAndDecisionsRun() async throws {
        let (folder, server) = (try Folder(), try StoryServer())
        var config = RejoinConfig(path: folder.file("tasks.db"), server: server.url)
        config.schema = try server.schema()
        config.userID = "u1"
        config.syncInterval = .seconds(3600)

        struct Move: Codable, Sendable { let id: String, by: Int }
        struct Moved: Codable, Sendable { let position: Int }

        var actions = Actions()
        actions.declare(
            """
            {"name": "finish", "parameters": [{"name": "id", "type": "text"}],
             "preconditions": [{"sql": "SELECT NOT done FROM tasks WHERE id = :id", "message": "it is done already"}],
             "statements": ["UPDATE tasks SET done = TRUE WHERE id = :id"]}
            """)
        actions.handler("move", as: Move.self, parameters: [.init("id", .text), .init("by", .integer)]) { context, move in
            let position = try await context.queryOne("SELECT position FROM tasks WHERE id = \(move.id)", as: Int.self)
            guard let position, position + move.by <= 10 else { throw context.refuse("ten is the highest") }
            try await context.execute("UPDATE tasks SET position = \(position + move.by) WHERE id = \(move.id)")
            return Moved(position: position + move.by)
        }
        config.actions = actions
        let client = try await RejoinClient.open(config)
        try await client.add("a", "buy milk")
        let printed = Output()
        @Sendable func print(_ what: some Any) { printed.add("\(what)") }

        let moved = try await client.perform("move", Move(id: "a", by: 3))
        print(try moved.value(as: Moved.self).position)
        try await client.perform("finish", ["id": "a"])
        do {
            try await client.perform("move", ["id": "a", "by": 50])
        } catch RejoinError.action(let error) where error.fault == .refused {
            print(error.detail)
        }
        #expect(printed.all() == ["3", "ten is the highest"])

        try await client.add("b", tooLong)
        try await client.execute("UPDATE tasks SET position = 7 WHERE id = 'b'")  // Depends on it.
        try await client.settle()
        try await decide(client)
        try await client.settle()
        #expect(try server.column("SELECT length(title) || ' ' || position FROM tasks ORDER BY id") == ["8 3", "200 7"])
        for mutation in try await client.queue.parked() {
            try await client.queue.discardChain(mutation.id)
        }
        #expect(try await client.queue.all().isEmpty)

        if let last = try await client.queue.history(1).first {
            do {
                try await client.queue.undo(last.id)
            } catch RejoinError.changed(let error) {
                print(error.rows.map { "\($0.table) \($0.columns)" })
            }
        }
        let waiting = try await client.queue.all().map(\.id)
        let gone = try await client.storage.clearForNextUser(discarding: waiting)
        print(gone.givenUp.count)
        #expect(printed.all().last == "1", "the undo was pending")
    }

    private final class Output: @unchecked Sendable {
        private let lock = NSLock()
        private var lines: [String] = []
        func add(_ line: String) { lock.withLock { lines.append(line) } }
        func all() -> [String] { lock.withLock { lines } }
    }

    /// Decides on all parked mutations until all verdicts are acknowledged.
    private func decide(_ client: RejoinClient) async throws {
        try await watched {
            for await news in client.queue.watchVerdicts() {
                for parked in try await client.queue.parked() {  // A reported mutation may have been decided before a restart.
                    switch parked.reason {
                    case .conflicted: try await client.queue.retry(parked.id)  // Keep the local edit.
                    case .depends: continue  // Resolved with the mutation in becauseOf.
                    default:
                        let edited = try await client.queue.edit(parked.id) { tx in
                            try await tx.execute("UPDATE tasks SET title = substr(title, 1, 200)")
                        }
                        if let edited { try await client.queue.retryChain(edited) }
                    }
                }
                if let last = news.entries.last { try await client.queue.acknowledgeVerdicts(through: last.number) }
                if try await client.queue.verdicts().entries.isEmpty { break }
            }
        }
    }

    @Test func readmeExamplesMatchThisFile() throws {
        try expectExamples(of: "swift/README.md", inOrderIn: #filePath, atLeast: 12)
    }
}
