// What the stories are told with: folders, devices, and a watchdog for what must not hang.

import Foundation
import Rejoin

/// A folder that goes with whoever made it.
final class Folder: Sendable {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("rejoin-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func file(_ name: String) -> URL { url.appendingPathComponent(name) }
}

/// A client with an own table and no server.
func localClient(_ folder: Folder, _ change: (inout RejoinConfiguration) -> Void = { _ in }) async throws
    -> RejoinClient
{
    var configuration = RejoinConfiguration(path: folder.file("local.db"))
    change(&configuration)
    let client = try await RejoinClient.open(configuration)
    try await client.createTable("item", "id TEXT PRIMARY KEY, n INTEGER, body TEXT")
    return client
}

/// A client with the synced table `task`, known from a bundled schema, and no server.
func offlineClient(_ folder: Folder, _ change: (inout RejoinConfiguration) -> Void = { _ in }) async throws -> RejoinClient {
    var configuration = RejoinConfiguration(path: folder.file("offline.db"))
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

/// A device of the user `u1`, of which nothing syncs before it is told to.
func device(
    _ name: String, _ folder: Folder, _ server: StoryServer, _ change: (inout RejoinConfiguration) -> Void = { _ in }
) async throws -> RejoinClient {
    var configuration = RejoinConfiguration(path: folder.file("\(name).db"), serverURL: server.url)
    configuration.userID = "u1"
    configuration.deviceName = name
    configuration.schema = try server.schema()
    configuration.syncInterval = .seconds(3600)
    configuration.pushDebounce = .zero
    change(&configuration)
    return try await RejoinClient.open(configuration)
}

extension RejoinClient {
    func insertTask(_ id: String, _ title: String) async throws {
        try await execute("INSERT INTO task (id, user_id, title) VALUES (?, 'u1', ?)", [id, title])
    }

    /// Syncs once, and not by itself afterwards.
    func settle() async throws {
        try await syncAndWait(timeout: .seconds(30))
        try await stop()
    }

    /// Writes, and tells the mutation's name.
    func wrote(_ sql: String, _ params: SQLParameters = []) async throws -> PendingMutation.ID {
        try await execute(sql, params)
        guard let id = try await pending().last?.id else { throw Own("nothing waits") }
        return id
    }

    func titles() async throws -> [String] { try await query("SELECT title FROM task ORDER BY id", as: String.self) }

    /// How many rows the table `item` has.
    func items() async throws -> Int { try await query("SELECT count(*) FROM item", as: Int.self)[0] }
}

/// Ends the whole process when something takes longer than it may: what hangs would hang its test for good.
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

/// Something that one task waits for and another lets happen.
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

/// An error of an app's own.
struct Own: Error, Equatable {
    let word: String
    init(_ word: String) { self.word = word }
}

/// The kind of a Rejoin error, or what else it is.
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
