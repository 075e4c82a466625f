// Runs the examples of swift/README.md; the last test compares the lines.

import Foundation
import Rejoin
import Testing

@Suite struct ReadmeTests {
    @Test func readmeExamplesRun() async throws {
        let (files, server) = (try Folder(), try StoryServer(tokens: true))
        let (folder, url, session) = (files.url, server.url, Session(server))

        struct Todo: Decodable, Sendable {
            let id: String
            let title: String
            let done: Bool
            let note: String?
        }

        var configuration = RejoinConfiguration(path: folder.appendingPathComponent("todo.db"), serverURL: url)
        configuration.tokens = session
        configuration.schema = try server.schema()
        let client = try await RejoinClient.open(configuration)
        try await client.start()

        try await client.execute("INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)", ["a", "u1", "buy milk"])

        let open = try await client.query("SELECT id, title, done, note FROM task WHERE done = ?", [false], as: Todo.self)
        #expect(open.map(\.title) == ["buy milk"])

        let moved = try await client.transaction { tx in
            let ids = try await tx.query("SELECT id FROM task WHERE done = ?", [false], as: String.self)
            for id in ids { try await tx.execute("UPDATE task SET rank = rank + 1 WHERE id = ?", [id]) }
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

        try await client.insertTask("b", "refused")
        try await client.syncAndWait(timeout: .seconds(30))
        for mutation in try await client.pending() where mutation.state == .parked {
            try await client.discard(mutation.id)
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
        var configuration = RejoinConfiguration(path: folder.file("todo.db"), serverURL: server.url)
        configuration.schema = try server.schema()
        configuration.userID = "u1"
        configuration.syncInterval = .seconds(3600)

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
            let ranks = try await context.query("SELECT rank FROM task WHERE id = ?", [raise.id], as: Int.self)
            guard let rank = ranks.first, rank + raise.by <= 10 else { throw context.refuse("ten is the highest") }
            try await context.execute("UPDATE task SET rank = ? WHERE id = ?", [rank + raise.by, raise.id])
            return Rank(rank: rank + raise.by)
        }
        configuration.actions = actions
        let client = try await RejoinClient.open(configuration)
        try await client.insertTask("a", "buy milk")
        let printed = Output()
        @Sendable func print(_ what: some Any) { printed.add("\(what)") }

        let raised = try await client.perform("raise", Raise(id: "a", by: 3))
        print(try raised.value(as: Rank.self).rank)
        try await client.perform("finish", ["id": "a"])
        do {
            try await client.perform("raise", ["id": "a", "by": 50])
        } catch RejoinError.action(_, _, .refused, let words) {
            print(words)
        }
        #expect(printed.all() == ["3", "ten is the highest"])

        try await client.insertTask("b", "refused")
        try await client.execute("UPDATE task SET note = 'depends on it' WHERE id = 'b'")
        try await client.settle()
        try await decide(client)
        try await client.settle()
        #expect(try server.column("SELECT title || ' ' || coalesce(note, '') FROM task ORDER BY id") == ["buy milk ", "corrected depends on it"])
        for mutation in try await client.pending() where mutation.state == .parked {
            try await client.discardChain(mutation.id)
        }
        #expect(try await client.pending().isEmpty)

        if let last = try await client.history(1).first {
            do {
                try await client.undo(last.id)
            } catch RejoinError.changed(_, let rows) {
                print(rows.map { "\($0.table) \($0.columns)" })
            }
        }
        let waiting = try await client.pending().map(\.id)
        let gone = try await client.reset(keep: .local, giveUp: waiting)
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
            for await news in client.watchVerdicts() {
                for verdict in news.entries where verdict.kind == .parked {
                    switch verdict.reason {
                    case .conflicted: try await client.retry(verdict.id) // Keep the local edit.
                    case .depends: continue // Resolved with the mutation in becauseOf.
                    default:
                        let edited = try await client.edit(verdict.id) { tx in
                            try await tx.execute("UPDATE task SET title = 'corrected' WHERE title = 'refused'")
                        }
                        if let edited { try await client.retryChain(edited) }
                    }
                }
                if let last = news.entries.last { try await client.acknowledgeVerdicts(through: last.number) }
                if try await client.verdicts().entries.isEmpty { break }
            }
        }
    }

    @Test func readmeLinesMatchThisFile() throws {
        let here = URL(fileURLWithPath: #filePath)
        let readme = here.deletingLastPathComponent().appendingPathComponent("../../README.md").standardizedFileURL
        let mine = Set(try lines(here))
        var inside = false
        for line in try lines(readme) {
            if line.hasPrefix("```") {
                inside = line == "```swift"
            } else if inside {
                #expect(mine.contains(line), "not run: \(line)")
            }
        }
    }

    private func lines(_ file: URL) throws -> [String] {
        let text = try String(contentsOf: file, encoding: .utf8)
        return text.components(separatedBy: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    }
}
