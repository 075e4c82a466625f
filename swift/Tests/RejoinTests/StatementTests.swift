// Statements through the real engine: a test for each call that reads or writes, and for opening and the end.

import Foundation
import Rejoin
import Testing

@Suite struct StatementTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func whatIsWrittenIsReadBackToTheLastBit() async throws {
        let client = try await localClient(folder)
        try await client.createTable("every", "id INTEGER PRIMARY KEY, v BLOB")
        let values: [SQLValue] = [
            .null, .integer(.min), .integer(.max), .integer(0), .real(-0.0), .real(.leastNonzeroMagnitude), .real(.infinity),
            .text(""), .text("na\u{ef}ve \u{1F600} \u{0}end"), .blob([]), .blob([0, 255, 128]),
        ]
        for (id, value) in values.enumerated() {
            #expect(try await client.execute("INSERT INTO every VALUES (?, ?)", [id, value]) == 1)
        }
        let rows = try await client.query("SELECT v FROM every ORDER BY id")
        for (row, value) in zip(rows, values) {
            let read = try row.get("v", as: SQLValue.self)
            #expect(read == value)
            if case .real(let one) = read, case .real(let other) = value { #expect(one.sign == other.sign) }
        }
        try await client.shutdown()
    }

    @Test func rowsAreDecodable() async throws {
        struct Item: Decodable, Equatable { let id: String, n: Int, body: String? }
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES (?, ?, ?), (?, ?, ?)", ["a", 1, nil, "b", 2, "two"])
        let items = try await client.query("SELECT * FROM item WHERE n < ? ORDER BY id", [9], as: Item.self)
        #expect(items == [Item(id: "a", n: 1, body: nil), Item(id: "b", n: 2, body: "two")])
        #expect(try await client.query("SELECT count(*) FROM item", as: Int.self) == [2])
    }

    @Test func severalQueriesSeeOneState() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', 1, NULL)")
        let results = try await client.queryAll([
            Statement("SELECT id FROM item"), Statement("SELECT n + ? AS m FROM item", [41]),
        ])
        #expect(try results[0].decode(String.self) == ["a"])
        #expect(try results[1][0].get("m", as: Int.self) == 42)
    }

    @Test func aBatchIsWrittenAsAWholeOrNotAtAll() async throws {
        let client = try await localClient(folder)
        let insert = "INSERT INTO item VALUES (?, 1, NULL)"
        #expect(try await client.batch([Statement(insert, ["a"]), Statement("UPDATE item SET n = n + 1")]) == [1, 1])
        let error = await thrown { try await client.batch([Statement(insert, ["b"]), Statement(insert, ["a"])]) }
        #expect(kind(error) == "constraint")
        #expect(try await client.items() == 1)
    }

    @Test func severalStatementsOfOneTextAreOneTransaction() async throws {
        let client = try await localClient(folder)
        try await client.executeBatch("INSERT INTO item VALUES ('a', 1, NULL); INSERT INTO item VALUES ('b', 2, NULL)")
        #expect(try await client.items() == 2)
        let error = await thrown { try await client.executeBatch("DELETE FROM item; INSERT INTO nowhere VALUES (1)") }
        #expect(kind(error) == "invalidInput")
        #expect(try await client.items() == 2)
    }

    @Test func aWriteMayGiveRows() async throws {
        let client = try await localClient(folder)
        let rows = try await client.executeReturning("INSERT INTO item VALUES (?, 7, NULL) RETURNING id, n", ["a"])
        #expect(try rows[0].get("n", as: Int.self) == 7)
    }

    @Test func errorsSayWhatWentWrong() async throws {
        let client = try await localClient(folder)
        try await client.createTable("strict", "id TEXT PRIMARY KEY, n INTEGER NOT NULL")
        let table: [(String, String)] = [
            ("SELECT nothing FROM item", "invalidInput"),
            ("SELEKT 1", "invalidInput"),
            ("INSERT INTO strict (id) VALUES ('a')", "constraint"),
        ]
        for (sql, expected) in table {
            let error = try #require(await thrown { try await client.execute(sql) })
            #expect(kind(error) == expected, "\(sql): \(error)")
            #expect(error.localizedDescription == (error as? RejoinError)?.reason)
        }
        guard case RejoinError.constraint(_, "strict", "n", "NOT NULL")? = await thrown({
            try await client.execute("INSERT INTO strict (id) VALUES ('a')")
        }) else { throw Own("the rule is not named") }
        #expect(kind(await thrown { _ = try await client.query("DELETE FROM item") }) == "invalidInput")
    }

    @Test func ownTablesAreMadeAlteredAndIndexed() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', 1, 'x')")
        try await client.alterTable("item", addingColumn: "more REAL")
        #expect(try await client.query("SELECT body, more FROM item")[0].get("more", as: Double?.self) == nil)
        let name = try await client.createIndex(on: "item", columns: ["n", "body"])
        #expect(try await client.createIndex(on: "item", columns: ["n", "body"]) == name)
        let indexes = try await client.query("SELECT name FROM pragma_index_list('item')", as: String.self)
        #expect(indexes.contains(name))
    }

    @Test func theConfigurationsProblemsAreNamedTogether() async throws {
        var wrong = RejoinConfiguration(path: folder.file("x.db"))
        wrong.serverURL = URL(string: "ftp://a.example")
        wrong.pageSize = 5
        let error = try #require(await thrown { _ = try await RejoinClient.open(wrong) })
        #expect(kind(error) == "configuration")
        #expect("\(error)".contains("server_url") && "\(error)".contains("page_size"))
        wrong.pageSize = -1
        wrong.syncInterval = .seconds(1_000_000_000_000)
        let outside = try #require(await thrown { _ = try await RejoinClient.open(wrong) })
        #expect("\(outside)".contains("syncInterval") && "\(outside)".contains("pageSize"))
        var negative = RejoinConfiguration(path: folder.file("x.db"))
        negative.pushDebounce = .microseconds(-1)
        negative.transactionIdle = .seconds(-1)
        let past = try #require(await thrown { _ = try await RejoinClient.open(negative) })
        #expect(kind(past) == "configuration" && "\(past)".contains("pushDebounce") && "\(past)".contains("transactionIdle"))
        // A part of a millisecond counts as a whole one; that this is too little is the engine's to say.
        var least = RejoinConfiguration(path: folder.file("x.db"))
        least.transactionIdle = .nanoseconds(1)
        let little = try #require(await thrown { _ = try await RejoinClient.open(least) })
        #expect(kind(little) == "configuration" && "\(little)".contains("transaction_idle"))
        let nowhere = RejoinConfiguration(path: folder.file("none/x.db"))
        #expect(kind(await thrown { _ = try await RejoinClient.open(nowhere) }) == "storage")
    }

    @Test func aFileThatIsOpenIsShared() async throws {
        let one = try await localClient(folder)
        let other = try await RejoinClient.open(RejoinConfiguration(path: folder.file("local.db")))
        try await one.execute("INSERT INTO item VALUES ('a', 1, NULL)")
        #expect(try await other.items() == 1)
        #expect(one.path.lastPathComponent == "local.db")
        #expect(one.path == other.path)
    }

    @Test func aSuspendedClientRefusesAndResumes() async throws {
        let client = try await localClient(folder)
        try await client.suspend()
        #expect(kind(await thrown { try await client.execute("DELETE FROM item") }) == "suspended")
        try await client.resume()
        #expect(try await client.items() == 0)
    }

    @Test func aClientThatWasShutDownRefusesInWords() async throws {
        let client = try await localClient(folder)
        try await client.shutdown()
        try await client.shutdown()
        for call in [{ _ = try await client.items() }, { try await client.execute("DELETE FROM item") }]
            as [@Sendable () async throws -> Void]
        {
            #expect(kind(await thrown(call)) == "ended")
        }
    }

    @Test func aClientThatNobodyHoldsLetsGoOfItsFile() async throws {
        var client: RejoinClient? = try await localClient(folder)
        try await client?.execute("INSERT INTO item VALUES ('a', 1, NULL)")
        client = nil
        let again = try await localClient(folder) { $0.readers = 2 } // Another configuration: it cannot be shared.
        #expect(try await again.items() == 1)
    }

    @Test func diagnoseAndCheckpointTellOfTheFile() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', 1, 'a secret of the row')")
        let bundle = try await client.diagnose()
        #expect(try JSONSerialization.jsonObject(with: Data(bundle.utf8)) is [String: Any])
        #expect(!bundle.contains("a secret of the row"))
        for mode in [.passive, .full, .restart, .truncate] as [CheckpointMode] {
            #expect(try await client.checkpoint(mode).busy == false)
        }
    }
}
