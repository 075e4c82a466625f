// LiveQuery on the real engine, and on a fake where the order of events matters.

import Foundation
import Rejoin
import Testing

@testable import RejoinUI

@MainActor
@Suite struct LiveQueryTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private struct Item: Decodable, Sendable, Equatable { let id: String, n: Int }

    @Test func queryShowsRowsNowAndAfterEachCommit() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', 1, NULL)")
        try await watched { @MainActor in
            let items = LiveQuery(Item.self, "SELECT id, n FROM item WHERE n = \(1) ORDER BY id", on: client)
            #expect(items.isLoading && items.values.isEmpty && items.error == nil)
            await observed { !items.isLoading }
            #expect(items.values == [Item(id: "a", n: 1)])
            try await client.execute("INSERT INTO item VALUES ('b', 1, NULL), ('c', 2, NULL)")
            await observed { items.values.count == 2 }
            #expect(items.values.map(\.id) == ["a", "b"])
        }
    }

    @Test func failedQueryRecoversAfterTheNextCommit() async throws {
        let client = try await localClient(folder)
        try await watched { @MainActor in
            let later = LiveQuery(String.self, "SELECT id FROM later", on: client)
            await observed { later.error != nil }
            #expect(kind(later.error) == "invalidInput" && !later.isLoading)
            try await client.schema.createTable("later", "id TEXT PRIMARY KEY")
            await observed { later.error == nil }
            try await client.execute("INSERT INTO later VALUES ('x')")
            await observed { later.values == ["x"] }
        }
    }

    @Test func failureBetweenTwoResultsKeepsTheRows() async throws {
        let fake = FakeDatabase()
        try await watched { @MainActor in
            let ids = LiveQuery(String.self, "SELECT 1", on: fake)
            try await fake.began(0).emit(["a"])
            await observed { ids.values == ["a"] }
            try await fake.began(0).fail(Own("broken"))
            await observed { ids.error != nil }
            #expect(ids.values == ["a"])
            // Once more, for a commit that came before the model followed the changes.
            try await fake.began(1).fail(Own("broken again"))
            await observed { (ids.error as? Own)?.word == "broken again" }
            #expect(fake.watches.count == 2, "it waits for a commit")
            fake.commit()
            try await fake.began(2).emit(["b"])
            await observed { ids.values == ["b"] }
            #expect(ids.error == nil)
        }
    }

    @Test func rowThatDoesNotFitIsAnErrorUntilItFits() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', NULL, NULL)")
        try await watched { @MainActor in
            let items = LiveQuery(Item.self, "SELECT id, n FROM item", on: client)
            await observed { items.error != nil }
            #expect(items.error is DecodingError)
            try await client.execute("UPDATE item SET n = 1")
            await observed { items.values == [Item(id: "a", n: 1)] }
            #expect(items.error == nil)
        }
    }

    @Test func retryRunsAFailedQueryAtOnce() async throws {
        let fake = FakeDatabase()
        try await watched { @MainActor in
            let ids = LiveQuery(String.self, "SELECT 1", on: fake)
            try await fake.began(0).fail(Own("broken"))
            try await fake.began(1).fail(Own("broken again"))
            await observed { (ids.error as? Own)?.word == "broken again" }
            ids.retry()
            #expect(fake.watches.count == 2 && ids.isLoading)
            try await fake.began(2).emit(["a"])
            await observed { ids.values == ["a"] && ids.error == nil && !ids.isLoading }
        }
    }

    @Test func statementChangeShowsItsRowsOnly() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', 1, NULL), ('b', 2, NULL)")
        try await watched { @MainActor in
            let ids = LiveQuery(String.self, "SELECT id FROM item WHERE n = \(1)", on: client)
            await observed { ids.values == ["a"] }
            ids.statement = "SELECT id FROM item WHERE n = \(2)"
            #expect(ids.isLoading && ids.values == ["a"], "the previous rows stay until there are others")
            await observed { ids.values == ["b"] && !ids.isLoading }
            ids.statement = "SELECT nothing"
            await observed { ids.error != nil }
            ids.statement = "SELECT id FROM item"
            await observed { ids.values == ["a", "b"] && ids.error == nil }
        }
    }

    @Test func equalStatementDoesNotStartAgain() async throws {
        let fake = FakeDatabase()
        try await watched { @MainActor in
            let ids = LiveQuery(String.self, "SELECT \(1)", on: fake)
            try await polled { fake.watches.count == 1 }
            ids.statement = Statement("SELECT ?", [1])
            #expect(!ids.isLoading || fake.watches.count == 1)
            ids.statement = "SELECT \(2)"
            try await polled { fake.watches.count == 2 }
            #expect(fake.watches.map { $0.statement.params.first??.sqlValue } == [.integer(1), .integer(2)])
        }
    }

    @Test func lateResultOfAFormerStatementIsDropped() async throws {
        let fake = FakeDatabase()
        try await watched { @MainActor in
            let ids = LiveQuery(String.self, "SELECT 1", on: fake)
            try await fake.began(0).emit(["old"])
            ids.statement = "SELECT 2"  // Before the main actor is free to show the row.
            try await polled { fake.watches.count == 2 && fake.endedWatches == 1 }
            #expect(ids.values == [] && ids.isLoading)
            try await fake.began(1).emit(["new"])
            await observed { !ids.isLoading }
            #expect(ids.values == ["new"])
        }
    }

    @Test func hundredModelsFollowOneDatabase() async throws {
        let client = try await localClient(folder)
        try await watched { @MainActor in
            let models = (0..<100).map { LiveQuery(Int.self, "SELECT n FROM item WHERE n >= \($0) ORDER BY n", on: client) }
            await observed { models.allSatisfy { !$0.isLoading } }
            try await client.execute("INSERT INTO item VALUES ('a', 50, NULL), ('b', 99, NULL)")
            await observed { models.allSatisfy { $0.values.last == 99 } }
            #expect(models.map(\.values.count) == (0..<100).map { $0 <= 50 ? 2 : 1 })
        }
    }

    @Test func releasedModelsEndTheirWatches() async throws {
        let fake = FakeDatabase()
        try await watched { @MainActor in
            var models = (0..<10).map { LiveQuery(String.self, "SELECT \($0)", on: fake) }
            try await fake.began(0).emit(["a"])
            try await fake.began(1).fail(Own("this one waits for a commit"))
            await observed { models.contains { $0.values == ["a"] } && models.contains { $0.error != nil } }
            try await polled { fake.watches.count == 11 }
            let released = models.map { Weak($0) }
            models = []
            #expect(released.allSatisfy { $0.object == nil })
            try await polled { fake.endedWatches == 11 }
        }
    }

    @Test func modelOfTheEngineHoldsTheClientOnlyWhileItExists() async throws {
        var client: RejoinClient? = try await localClient(folder)
        let released = Weak(client)
        var query: LiveQuery<String>? = client.map { LiveQuery(String.self, "SELECT id FROM item", on: $0) }
        client = nil
        try await watched { @MainActor [query] in
            await observed { query?.isLoading == false }
        }
        #expect(released.object != nil)
        query = nil
        try await watched { @MainActor in try await polled { released.object == nil } }
    }

    @Test func shutdownEndsTheWatchWithoutAnError() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', 1, NULL)")
        try await watched { @MainActor in
            let ids = LiveQuery(String.self, "SELECT id FROM item", on: client)
            await observed { ids.values == ["a"] }
            try await client.shutdown()
            try await Task.sleep(for: .milliseconds(50))
            #expect(ids.error == nil && ids.values == ["a"])
        }
    }
}
