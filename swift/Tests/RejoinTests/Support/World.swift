// Test support: folders, devices, and a watchdog.

import Foundation
import Rejoin

/// A temporary folder that is deleted with its owner.
final class Folder: Sendable {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("rejoin-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func file(_ name: String) -> URL { url.appendingPathComponent(name) }
}

/// A client with a local-only table and no server.
func localClient(_ folder: Folder, _ change: (inout RejoinConfig) -> Void = { _ in }) async throws
    -> RejoinClient
{
    var configuration = RejoinConfig(path: folder.file("local.db"))
    change(&configuration)
    let client = try await RejoinClient.open(configuration)
    try await client.schema.createTable("item", "id TEXT PRIMARY KEY, n INTEGER, body TEXT")
    return client
}

/// A client with the synced table `task` from a bundled schema, and no server.
func offlineClient(_ folder: Folder, _ change: (inout RejoinConfig) -> Void = { _ in }) async throws -> RejoinClient {
    var configuration = RejoinConfig(path: folder.file("offline.db"))
    configuration.schema = """
        {"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task", "push_policy": "owner_only",
         "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"], "columns": [
          {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
          {"name": "title", "db_type": "text", "logical_type": "string"},
          {"name": "rank", "db_type": "integer", "logical_type": "int64"}]}]}
        """
    change(&configuration)
    return try await RejoinClient.open(configuration)
}

/// A device of the user `u1` that syncs only on request.
func device(
    _ name: String, _ folder: Folder, _ server: StoryServer, _ change: (inout RejoinConfig) -> Void = { _ in }
) async throws -> RejoinClient {
    var configuration = RejoinConfig(path: folder.file("\(name).db"), server: server.url)
    configuration.userID = "u1"
    configuration.deviceName = name
    configuration.schema = try server.schema()
    configuration.syncInterval = .seconds(3600)
    configuration.pushDebounce = .zero
    change(&configuration)
    return try await RejoinClient.open(configuration)
}

/// A title that every device accepts and the server rejects in the table `tasks` of the guides.
let tooLong = String(repeating: "x", count: 201)

extension RejoinClient {
    /// Inserts a row of the table of the guides.
    func add(_ id: String, _ title: String) async throws {
        try await execute("INSERT INTO tasks (id, title) VALUES (\(id), \(title))")
    }

    func insertTask(_ id: String, _ title: String) async throws {
        try await execute("INSERT INTO task (id, user_id, title) VALUES (?, 'u1', ?)", [id, title])
    }

    /// Syncs once, then stops syncing.
    func settle() async throws {
        try await sync.run(timeout: .seconds(30))
        try await stop()
    }

    /// Writes and returns the mutation's id.
    func wrote(_ sql: String, _ params: SQLParameters = []) async throws -> PendingMutation.ID {
        try await execute(sql, params)
        guard let id = try await queue.all().last?.id else { throw Own("nothing waits") }
        return id
    }

    func titles(_ table: String = "task") async throws -> [String] {
        try await query("SELECT title FROM \(sql: table) ORDER BY id", as: String.self)
    }

    /// The number of rows in the table `item`.
    func items() async throws -> Int { try await query("SELECT count(*) FROM item", as: Int.self)[0] }
}

/// Exits the process when something takes too long: a blocked task would block its test forever.
final class Watchdog: @unchecked Sendable {
    private let lock = NSLock()
    private var isOver = false

    init(_ limit: TimeInterval, _ what: String) {
        let deadline = Date(timeIntervalSinceNow: limit)
        Thread.detachNewThread { [self] in
            while Date() < deadline {
                Thread.sleep(forTimeInterval: 0.05)
                if over() { return }
            }
            FileHandle.standardError.write(Data("watchdog: \(what) did not end within \(limit) s\n".utf8))
            exit(99)
        }
    }

    func end() {
        lock.lock()
        isOver = true
        lock.unlock()
    }

    private func over() -> Bool {
        lock.lock()
        defer { lock.unlock() }
        return isOver
    }
}

/// Runs `body` under a watchdog.
func watched<Result: Sendable>(
    _ limit: TimeInterval = 60, _ what: String = #function, _ body: @Sendable () async throws -> Result
) async throws -> Result {
    let watchdog = Watchdog(limit, what)
    defer { watchdog.end() }
    return try await body()
}

/// Background time that a test lets expire.
final class FakeTime: BackgroundTime, @unchecked Sendable {
    private let lock = NSLock()
    private var expired: (@Sendable () -> Void)?
    private var began = 0
    private var ended = 0

    var isEnded: Bool { lock.withLock { began > 0 && began == ended } }

    func begin(expired: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        lock.withLock {
            self.expired = expired
            began += 1
        }
        return { [self] in lock.withLock { ended += 1 } }
    }

    func expire() { lock.withLock { expired }?() }

    func hasEnded() async { while !isEnded { await Task.yield() } }
}

/// A signal that one task awaits and another sets.
actor Signal {
    private var isSet = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func set() {
        isSet = true
        waiting.forEach { $0.resume() }
        waiting = []
    }

    func wait() async {
        if isSet { return }
        await withCheckedContinuation { waiting.append($0) }
    }
}

/// An error of the app.
struct Own: Error, Equatable {
    let word: String
    init(_ word: String) { self.word = word }
}

/// The case of a Rejoin error, or the type of another one.
func kind(_ error: (any Error)?) -> String {
    guard let error else { return "none" }
    guard let error = error as? RejoinError else { return String(describing: type(of: error)) }
    return Mirror(reflecting: error).children.first?.label ?? "unknown"
}

/// The error that `body` throws.
func thrown(_ body: () async throws -> Void) async -> (any Error)? {
    do {
        try await body()
        return nil
    } catch {
        return error
    }
}
