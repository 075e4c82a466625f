// Statements on the real engine: one test per call that reads or writes, and for open and shutdown.

import Foundation
import Rejoin
import Testing

@Suite struct StatementTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func rowsDecodeToAStruct() async throws {
        struct Item: Decodable, Equatable { let id: String, n: Int, body: String? }
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES (?, ?, ?), (?, ?, ?)", ["a", 1, nil, "b", 2, "two"])
        let items = try await client.query("SELECT * FROM item WHERE n < ? ORDER BY id", [9], as: Item.self)
        #expect(items == [Item(id: "a", n: 1, body: nil), Item(id: "b", n: 2, body: "two")])
        #expect(try await client.query("SELECT count(*) FROM item", as: Int.self) == [2])
    }

    @Test func errorsNameTheirCause() async throws {
        let client = try await localClient(folder)
        try await client.schema.createTable("strict", "id TEXT PRIMARY KEY, n INTEGER NOT NULL")
        let table: [(Statement, String)] = [
            ("SELECT nothing FROM item", "invalidInput"),
            ("SELEKT 1", "invalidInput"),
            ("INSERT INTO strict (id) VALUES ('a')", "constraint"),
        ]
        for (statement, expected) in table {
            let error = try #require(await thrown { try await client.execute(statement) })
            #expect(kind(error) == expected, "\(statement.sql): \(error)")
            #expect(error.localizedDescription == (error as? RejoinError)?.reason)
        }
        guard
            case RejoinError.constraint(let error)? = await thrown({
                try await client.execute("INSERT INTO strict (id) VALUES ('a')")
            })
        else { throw Own("the rule is not named") }
        #expect(error.table == "strict" && error.column == "n" && error.rule == "NOT NULL")
        #expect(kind(await thrown { _ = try await client.query("DELETE FROM item") }) == "invalidInput")
    }

    @Test func configurationProblemsAreReportedTogether() async throws {
        var wrong = RejoinConfig(path: folder.file("x.db"))
        wrong.server = URL(string: "ftp://a.example")
        wrong.pageSize = 5
        let error = try #require(await thrown { _ = try await RejoinClient.open(wrong) })
        #expect(kind(error) == "configuration")
        #expect("\(error)".contains("server: ") && "\(error)".contains("page_size"))
        wrong.pageSize = -1
        wrong.syncInterval = .seconds(1_000_000_000_000)
        let outside = try #require(await thrown { _ = try await RejoinClient.open(wrong) })
        #expect("\(outside)".contains("syncInterval") && "\(outside)".contains("pageSize"))
        var negative = RejoinConfig(path: folder.file("x.db"))
        negative.pushDebounce = .microseconds(-1)
        negative.transactionIdle = .seconds(-1)
        let past = try #require(await thrown { _ = try await RejoinClient.open(negative) })
        #expect(kind(past) == "configuration" && "\(past)".contains("pushDebounce") && "\(past)".contains("transactionIdle"))
        // Rounded up to 1 ms; the engine rejects that as too small.
        var least = RejoinConfig(path: folder.file("x.db"))
        least.transactionIdle = .nanoseconds(1)
        let little = try #require(await thrown { _ = try await RejoinClient.open(least) })
        #expect(kind(little) == "configuration" && "\(little)".contains("transaction_idle"))
        let nowhere = RejoinConfig(path: folder.file("none/x.db"))
        #expect(kind(await thrown { _ = try await RejoinClient.open(nowhere) }) == "storage")
    }

    @Test func temporaryFilesAreSeparateAndRemovedAtShutdown() async throws {
        let client = try await RejoinClient.open(.temporary())
        let other = try await RejoinClient.open(.temporary())
        for device in [client, other] { try await device.schema.createTable("item", "id TEXT PRIMARY KEY") }
        try await client.execute("INSERT INTO item VALUES ('a')")
        #expect(try await client.items() == 1)
        #expect(try await other.items() == 0)
        for device in [client, other] {
            #expect(FileManager.default.fileExists(atPath: device.path.path))
            try await device.shutdown()
            #expect(!FileManager.default.fileExists(atPath: device.path.deletingLastPathComponent().path))
        }
    }

    @Test func releasedClientClosesItsFile() async throws {
        var client: RejoinClient? = try await localClient(folder)
        try await client?.execute("INSERT INTO item VALUES ('a', 1, NULL)")
        client = nil
        let again = try await localClient(folder) { $0.readers = 2 }  // Another configuration, so the open file cannot be shared.
        #expect(try await again.items() == 1)
    }
}
