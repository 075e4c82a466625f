// The examples of swift/README.md, run: the lines there are the lines here.

import Foundation
import Rejoin
import Testing

@Suite struct ReadmeTests {
    @Test func theExamplesRun() async throws {
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

    @Test func theReadmesLinesAreTheseLines() throws {
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
