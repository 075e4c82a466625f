// RejoinStore: opening in the background, opening again after a failure, and its streams.

import Foundation
import Testing

@testable import Rejoin
@testable import RejoinUI

@MainActor
@Suite struct RejoinStoreTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private static let schema = """
        {"schema_version": 1, "schema_hash": "", "tables": [{"table_name": "task", "push_policy": "owner_only",
         "updated_at_column": "", "deleted_at_column": "", "primary_key": ["id"], "columns": [
          {"name": "id", "db_type": "text", "logical_type": "string", "is_primary_key": true},
          {"name": "title", "db_type": "text", "logical_type": "string"}]}]}
        """

    @Test func storeOpensItsFileWithTheFirstCall() async throws {
        let place = folder.file("new/folder")
        let store = RejoinStore("todo.db", in: .directory(place), schema: .json(Self.schema))
        #expect(!FileManager.default.fileExists(atPath: place.path) && store.status.state == .idle)
        try await store.execute("INSERT INTO task (id, title) VALUES (\("a"), \("buy milk"))")
        #expect(try await store.query("SELECT title FROM task") == ["buy milk"])
        #expect(try await store.client.path.lastPathComponent == "todo.db")
        #expect(FileManager.default.fileExists(atPath: place.appendingPathComponent("todo.db").path))
    }

    @Test func everyCallReachesTheClient() async throws {
        let store = RejoinStore("todo.db", in: .directory(folder.url), schema: .json(Self.schema)) {
            $0.actions.declare(#"{"name": "clear", "parameters": [], "statements": ["DELETE FROM task"]}"#)
        }
        #expect(try await store.batch(["INSERT INTO task (id) VALUES ('a')", "INSERT INTO task (id) VALUES ('b')"]) == [1, 1])
        try await store.executeScript("UPDATE task SET title = 'x'; UPDATE task SET title = 'y' WHERE id = 'b'")
        let both = try await store.queryMany(["SELECT title FROM task ORDER BY id", "SELECT 1"])
        #expect(try both[0].decode(String.self) == ["x", "y"] && both.count == 2)
        let changed = try await store.executeReturning("UPDATE task SET title = 'z' WHERE id = 'a' RETURNING id")
        #expect(try changed.decode(String.self) == ["a"])
        let title = try await store.transaction { tx in
            try await tx.execute("UPDATE task SET title = title || '!'")
            return try await tx.query("SELECT title FROM task WHERE id = 'a'", as: String.self)
        }
        #expect(title == ["z!"])
        try await store.perform("clear")
        #expect(try await store.query("SELECT id FROM task", as: String.self) == [])
    }

    @Test func schemaIsAResourceOfABundle() async throws {
        try Self.schema.write(to: folder.file("schema.json"), atomically: true, encoding: .utf8)
        let bundle = try #require(Bundle(path: folder.url.path))
        let store = RejoinStore("todo.db", in: .directory(folder.url), schema: .bundled("schema", in: bundle))
        #expect(try await store.query("SELECT id FROM task", as: String.self) == [])
        let missing = RejoinStore("other.db", in: .directory(folder.url), schema: .bundled("other", in: bundle))
        await #expect { _ = try await missing.client } throws: { kind($0) == "configuration" && "\($0)".contains("other.json") }
    }

    @Test func folderThatCannotBeCreatedIsNamed() async throws {
        try Data().write(to: folder.file("taken"))
        let store = RejoinStore("todo.db", in: .directory(folder.file("taken/folder")))
        await #expect { _ = try await store.client } throws: { kind($0) == "storage" && "\($0)".contains("taken/folder") }
    }

    @Test func concurrentCallsOpenOnce() async throws {
        let (store, attempts) = failing(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 { group.addTask { try await store.execute("INSERT INTO item (id) VALUES (\(number))") } }
            try await group.waitForAll()
        }
        #expect(try await store.query("SELECT count(*) FROM item", as: Int.self) == [20])
        #expect(await attempts.count == 1)
    }

    @Test func failedOpenIsRepeatedByTheNextCall() async throws {
        let (store, attempts) = failing(1)
        await #expect { try await store.execute("SELECT 1") } throws: { kind($0) == "storage" }
        try await store.execute("INSERT INTO item (id) VALUES ('a')")
        #expect(await attempts.count == 2)
    }

    @Test func modelsRecoverWhenTheFileCanBeOpened() async throws {
        // An error is shown only until the next attempt succeeds, so that attempt waits until the errors were seen.
        let (store, attempts) = failing(.max)
        try await watched { @MainActor in
            let ids = LiveQuery(String.self, "SELECT id FROM item", on: store)
            let parked = ParkedWrites(store)
            let monitor = SyncMonitor(store)
            await observed { ids.error != nil && parked.error != nil && monitor.lastError != nil }
            await attempts.succeed()
            await observed {
                ids.error == nil && !ids.isLoading && parked.error == nil && !parked.isLoading && monitor.counts != nil
            }
            try await store.execute("INSERT INTO item (id) VALUES ('a')")
            await observed { ids.values == ["a"] }
        }
    }

    @Test func streamsOfAClosedStoreWaitForTheFile() async throws {
        let (store, _) = failing(0)
        try await watched {
            let changes = store.changes(["item"])
            let statuses = store.statusUpdates
            let first = await changes.first { @Sendable _ in true }
            #expect(first == Change(origin: .local, tables: [:], queue: true))
            try await store.execute("INSERT INTO item (id) VALUES ('a')")
            let second = await changes.first { @Sendable _ in true }
            #expect(second?.tables.keys.first == "item")
            #expect(await statuses.first { @Sendable _ in true }?.state == .idle)
            try await store.shutdown()
            #expect(await changes.first { @Sendable _ in true } == nil)
        }
        await #expect { _ = try await store.query("SELECT 1") } throws: { kind($0) == "closed" }
    }

    @Test func callInTheBackgroundOpensTheFile() async throws {
        let store = RejoinStore(
            "todo.db", in: .directory(folder.url), schema: .json(Self.schema),
            lifecycle: StoreLifecycle { (AppLifecycle($0, time: Endless()), []) })
        try await watched { @MainActor in
            let client = try await store.client
            let lifecycle = try await store.lifecycle
            try #require(lifecycle).background()
            while await isOpen(client) { await Task.yield() }
            try await store.execute("INSERT INTO task (id) VALUES ('a')")
            #expect(try await store.withClient { try await $0.queue.all().count } == 1)
        }
    }

    @Test func versionOfABundleHasThreeParts() {
        #expect(["1", "1.0", "1.2.3", "2.10"].map(threePartVersion) == ["1.0.0", "1.0.0", "1.2.3", "2.10.0"])
        #expect([nil, "", "1.", "1.2.3.4", "1.0-beta", "-1"].map(threePartVersion).allSatisfy { $0 == nil })
    }

    private nonisolated func isOpen(_ client: RejoinClient) async -> Bool {
        kind(await thrown { _ = try await client.query("SELECT 1") }) != "suspended"
    }

    private struct Endless: BackgroundTime {
        func begin(expired: @escaping @Sendable () -> Void) -> @Sendable () -> Void { {} }
    }

    /// A store whose file cannot be opened at first, and its attempts.
    private func failing(_ failures: Int) -> (RejoinStore, Attempts) {
        let attempts = Attempts(failures)
        let store = RejoinStore { [folder] in
            if await attempts.fails() { throw RejoinError.storage("the device is locked") }
            return try await localClient(folder)
        }
        return (store, attempts)
    }

    private actor Attempts {
        private(set) var count = 0
        private var failures: Int

        init(_ failures: Int) { self.failures = failures }

        func fails() -> Bool {
            count += 1
            return count <= failures
        }

        func succeed() { failures = 0 }
    }
}
