// What an app replaces in its tests or gives as a closure: a database, tokens, the logger; and the handles of a client.

import Foundation
@testable import Rejoin
import Testing

@Suite struct DatabaseTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func fakeReplacesTheClientInATestOfTheApp() async throws {
        let fake = FakeDatabase()
        let list = TaskList(fake)
        #expect(try await list.open() == [Todo(id: "a", rank: 1, note: nil), Todo(id: "b", rank: 300, note: "x")])
        #expect(try await list.firstWatched() == ["a", "b"])
        try await list.add("c")
        #expect(try await list.finish("c") == "c")
        #expect(fake.written() == ["INSERT INTO task (id) VALUES (?) [\"c\"]", "finish {\"id\":\"c\"}"])
        let error = await thrown { try await fake.execute("DELETE FROM task") }
        #expect(kind(error) == "constraint" && error?.localizedDescription == "it is protected")
    }

    @Test func appCodeForADatabaseRunsOnAClient() async throws {
        let finish = """
            {"name": "finish", "parameters": [{"name": "id", "type": "text"}],
             "statements": ["UPDATE task SET rank = 9 WHERE id = :id"], "result": "SELECT rank FROM task WHERE id = :id"}
            """
        let client = try await offlineClient(folder) { $0.actions.declare(finish) }
        let list = TaskList(client)
        try await list.add("c")
        #expect(try await list.firstWatched() == ["c"])
        #expect(try await list.database.perform("finish", ["id": "c"]).value(as: [String: Int].self) == ["rank": 9])
        #expect(try await client.query("SELECT rank FROM task", as: Int.self) == [9])
    }

    @Test func rowsMadeOfValuesHaveTheBytesOfTheEngine() throws {
        for vector in Vectors.all.valid {
            let patterns = vector.patterns
            let rows = (0..<vector.count).map { patterns[$0 % patterns.count] }
            let made = RowBuffer(columns: vector.columns, rows: rows)
            if made.bytes != vector.bytes { Issue.record("\(vector)") }
        }
    }

    @Test func tokensOfAClosureIdentifyTheUser() async throws {
        let server = try StoryServer(tokens: true)
        let asked = Locked<[Bool]>([])
        let config = RejoinConfig(path: folder.file("closure.db"), server: server.url) { refresh in
            asked.with { $0.append(refresh) }
            return try server.token()
        }
        let client = try await device("closure", folder, server) {
            $0.userID = nil
            $0.tokens = config.tokens
        }
        try await client.insertTask("a", "by a closure")
        #expect(try await client.sync.run(timeout: .seconds(30)).accepted == 1)
        #expect(try server.column("SELECT title FROM task") == ["by a closure"])
        #expect(asked.with { $0.first } == false)
    }

    @Test func loggerOfTheAppTakesTheRecords() async throws {
        let logger = Keeping()
        try RejoinClient.setLogger(logger, from: .trace)
        defer { try? RejoinClient.setLogger(nil) }
        let server = try StoryServer()
        let client = try await device("logged", folder, server)
        try await client.settle()
        try await client.shutdown()
        try RejoinClient.setLogger(nil)
        #expect(logger.count.with { $0 } > 0)
    }

    @Test func handleKeepsItsClientOpenAndClosesWithIt() async throws {
        func queueOnly() async throws -> QueueHandle { try await offlineClient(folder).queue }
        let queue = try await queueOnly()
        #expect(try await queue.counts() == PendingCounts(pending: 0, sent: 0, uncertain: 0, parked: 0))
        let client = try await offlineClient(folder)
        try await client.execute("INSERT INTO task (id) VALUES ('a')")
        #expect(try await queue.counts().pending == 1, "both use the open file")
        #expect(try await client.queue.rowState("task", key: "a") == .pending)
        try await client.shutdown()
        #expect(kind(await thrown { _ = try await queue.counts() }) == "closed")
        #expect(kind(await thrown { _ = try await client.storage.diagnose() }) == "closed")
    }
}

private struct Todo: Decodable, Sendable, Equatable { let id: String, rank: Int, note: String? }

/// Code of an app that can be tested without a file.
private struct TaskList {
    let database: any RejoinDatabase
    init(_ database: any RejoinDatabase) { self.database = database }

    func open() async throws -> [Todo] { try await database.query("SELECT id, rank, note FROM task", as: Todo.self) }
    func add(_ id: String) async throws { try await database.execute("INSERT INTO task (id) VALUES (?)", [id]) }
    func finish(_ id: String) async throws -> String { try await database.perform("finish", ["id": id]).value(as: String.self) }

    func firstWatched() async throws -> [String] {
        for try await ids in database.watch("SELECT id FROM task", as: FirstColumn.self) { return ids.map(\.id) }
        return []
    }

    struct FirstColumn: Decodable, Sendable { let id: String }
}

/// A database written by hand: fixed rows, and a list of what was written.
private final class FakeDatabase: RejoinDatabase {
    private let log = Locked<[String]>([])
    private let rows = RowBuffer(
        columns: ["id", "rank", "note"], rows: [[.text("a"), .integer(1), .null], [.text("b"), .integer(300), .text("x")]])
    let status = SyncStatus(state: .idle, firstSync: .done)

    func written() -> [String] { log.with { $0 } }

    func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer { rows }
    func queryMany(_ statements: [Statement]) async throws -> [RowBuffer] { statements.map { _ in rows } }

    func execute(_ sql: String, _ params: SQLParameters) async throws -> Int {
        if sql.hasPrefix("DELETE") {
            throw RejoinError.constraint(ConstraintError(reason: "it is protected", table: "task", column: "id", rule: "CHECK"))
        }
        log.with { $0.append("\(sql) \(params.compactMap { $0 })") }
        return 1
    }

    func executeReturning(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer { rows }
    func executeScript(_ sql: String) async throws {}
    func batch(_ statements: [Statement]) async throws -> [Int] { statements.map { _ in 1 } }

    func perform(_ name: String, json: String) async throws -> Performed {
        log.with { $0.append("\(name) \(json)") }
        return Performed(id: nil, json: "\"c\"")
    }

    func watch(_ sql: String, _ params: SQLParameters) -> AsyncThrowingStream<RowBuffer, any Error> {
        AsyncThrowingStream { continuation in
            continuation.yield(rows)
            continuation.finish()
        }
    }

    func changes(_ tables: [String]) -> AsyncStream<Change> {
        AsyncStream { continuation in
            continuation.yield(Change(origin: .local, tables: ["task": nil]))
            continuation.finish()
        }
    }

    var statusUpdates: AsyncStream<SyncStatus> {
        AsyncStream { continuation in
            continuation.yield(status)
            continuation.finish()
        }
    }
}

private final class Keeping: RejoinLogger {
    let count = Locked(0)
    func log(_ record: LogRecord) { count.with { $0 += 1 } }
}
