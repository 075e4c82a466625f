// Runs the examples of swift/README.md; the last test compares the lines.

import Foundation
import Rejoin
import Testing

@Suite struct ReadmeTests {
    @Test func firstReadmeExampleRuns() async throws {
        let (folder, server) = (try Folder(), try StoryServer(tokens: true))
        let (file, url, schema, session) = (folder.file("app.db"), server.url, try server.schema(), Session(server))
        let (printed, shown) = (Output(), Output())
        let (id, note) = ("p1", "closed on Mondays")
        let wasShown = Signal()
        try await prepare(file, url, schema, session)
        @Sendable func print(_ what: some Any) { printed.add("\(what)") }
        @Sendable func show(_ places: RowBuffer) {
            shown.add((try? places.first?.get("note", as: String.self)) ?? "no note")
            Task { await wasShown.set() }
        }

        var config = RejoinConfig(path: file, serverURL: url, tokens: session)
        config.schema = schema
        let client = try await RejoinClient.open(config)
        try await client.start()  // Syncs in the background from now on; being offline is a status, not an error.
        try await client.execute("UPDATE places SET note = \(note) WHERE id = \(id)")
        Task {
            for try await places in client.watch("SELECT id, name, note FROM places ORDER BY name") { show(places) }
        }
        for mutation in try await client.queue.pending() {
            if let reason = mutation.reason { print("\(mutation.id) is parked: \(reason)") }
        }

        try await watched { await wasShown.wait() }
        #expect(shown.all() == ["closed on Mondays"])
        let parked = try #require(try await client.queue.pending().first)
        #expect(printed.all() == ["\(parked.id) is parked: rejected"])
        try await client.shutdown()
    }

    /// Leaves a file with a row of `places` and a parked mutation.
    private func prepare(_ file: URL, _ url: URL, _ schema: String, _ session: Session) async throws {
        var config = RejoinConfig(path: file, serverURL: url, tokens: session)
        config.schema = schema
        let client = try await RejoinClient.open(config)
        try await client.schema.createTable("places", "id TEXT PRIMARY KEY, name TEXT, note TEXT")
        try await client.execute("INSERT INTO places (id, name) VALUES ('p1', 'Quay')")
        try await client.insertTask("b", "refused")
        try await client.settle()
        try await client.shutdown()
    }

    @Test func readmeExamplesRun() async throws {
        let (files, server) = (try Folder(), try StoryServer(tokens: true))
        let (folder, url, session) = (files.url, server.url, Session(server))
        let (id, user, title) = ("a", "u1", "buy milk")

        struct Todo: Decodable, Sendable {
            let id: String
            let title: String
            let done: Bool
            let note: String?
        }

        var config = RejoinConfig(path: folder.appendingPathComponent("todo.db"), serverURL: url)
        config.tokens = session
        config.schema = try server.schema()
        let client = try await RejoinClient.open(config)
        try await client.start()

        try await client.execute("INSERT INTO task (id, user_id, title) VALUES (\(id), \(user), \(title))")

        let open: [Todo] = try await client.query("SELECT id, title, done, note FROM task WHERE done = \(false)")
        #expect(open.map(\.title) == ["buy milk"])

        let moved = try await client.transaction { tx in
            let ids = try await tx.query("SELECT id FROM task WHERE done = \(false)", as: String.self)
            for id in ids { try await tx.execute("UPDATE task SET rank = rank + 1 WHERE id = \(id)") }
            return ids.count
        }
        #expect(moved == 1)

        @Sendable func show(_ todos: [Todo]) { #expect(todos.count == 1) }
        try await watched {
            for try await todos in client.watch("SELECT id, title, done, note FROM task ORDER BY rank", as: Todo.self) {
                show(todos)
                break
            }
        }

        func titles(_ database: any RejoinDatabase) async throws -> [String] {
            try await database.query("SELECT title FROM task", as: String.self)
        }
        #expect(try await titles(client) == ["buy milk"])

        try await client.insertTask("b", "refused")
        try await client.sync.andWait(timeout: .seconds(30))
        for mutation in try await client.queue.pending() where mutation.state == .parked {
            try await client.queue.discard(mutation.id)
        }
        #expect(try await client.titles() == ["buy milk"])
        #expect(try server.column("SELECT title FROM task") == ["buy milk"])
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
        var config = RejoinConfig(path: folder.file("todo.db"), serverURL: server.url)
        config.schema = try server.schema()
        config.userID = "u1"
        config.syncInterval = .seconds(3600)

        struct Raise: Codable, Sendable { let id: String, by: Int }
        struct Rank: Codable, Sendable { let rank: Int }

        var actions = Actions()
        actions.declare(
            """
            {"name": "finish", "parameters": [{"name": "id", "type": "text"}],
             "preconditions": [{"sql": "SELECT NOT done FROM task WHERE id = :id", "message": "it is done already"}],
             "statements": ["UPDATE task SET done = 1 WHERE id = :id"]}
            """)
        actions.handler("raise", as: Raise.self, parameters: [.init("id", .text), .init("by", .integer)]) { context, raise in
            let rank = try await context.queryOne("SELECT rank FROM task WHERE id = \(raise.id)", as: Int.self)
            guard let rank, rank + raise.by <= 10 else { throw context.refuse("ten is the highest") }
            try await context.execute("UPDATE task SET rank = \(rank + raise.by) WHERE id = \(raise.id)")
            return Rank(rank: rank + raise.by)
        }
        config.actions = actions
        let client = try await RejoinClient.open(config)
        try await client.insertTask("a", "buy milk")
        let printed = Output()
        @Sendable func print(_ what: some Any) { printed.add("\(what)") }

        let raised = try await client.perform("raise", Raise(id: "a", by: 3))
        print(try raised.value(as: Rank.self).rank)
        try await client.perform("finish", ["id": "a"])
        do {
            try await client.perform("raise", ["id": "a", "by": 50])
        } catch RejoinError.action(let error) where error.fault == .refused {
            print(error.detail)
        }
        #expect(printed.all() == ["3", "ten is the highest"])

        try await client.insertTask("b", "refused")
        try await client.execute("UPDATE task SET note = 'depends on it' WHERE id = 'b'")
        try await client.settle()
        try await decide(client)
        try await client.settle()
        #expect(try server.column("SELECT title || ' ' || coalesce(note, '') FROM task ORDER BY id") == ["buy milk ", "corrected depends on it"])
        for mutation in try await client.queue.pending() where mutation.state == .parked {
            try await client.queue.discardChain(mutation.id)
        }
        #expect(try await client.queue.pending().isEmpty)

        if let last = try await client.queue.history(1).first {
            do {
                try await client.queue.undo(last.id)
            } catch RejoinError.changed(let error) {
                print(error.rows.map { "\($0.table) \($0.columns)" })
            }
        }
        let waiting = try await client.queue.pending().map(\.id)
        let gone = try await client.storage.reset(keep: .local, giveUp: waiting)
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
                for verdict in news.entries where verdict.kind == .parked {
                    switch verdict.reason {
                    case .conflicted: try await client.queue.retry(verdict.id)  // Keep the local edit.
                    case .depends: continue  // Resolved with the mutation in becauseOf.
                    default:
                        let edited = try await client.queue.edit(verdict.id) { tx in
                            try await tx.execute("UPDATE task SET title = 'corrected' WHERE title = 'refused'")
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
        try expectExamples(of: "swift/README.md", inOrderIn: #filePath, atLeast: 11)
    }
}
