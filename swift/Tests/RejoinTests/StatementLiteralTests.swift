// Statements as literals: interpolated values are parameters, in every place that takes a statement.

import Foundation
import Rejoin
import Testing

@Suite struct StatementLiteralTests {
    private struct Item: Decodable, Equatable { let id: String, n: Int, body: String? }

    private let folder: Folder

    init() throws { folder = try Folder() }

    private func filled() async throws -> RejoinClient {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES (\("a"), \(1), \(nil as String?)), (\("b"), \(2), \("two"))")
        return client
    }

    @Test func interpolatedValueIsAParameterAndNeverSQL() async throws {
        let client = try await filled()
        let hostile = "x'; DELETE FROM item; --"
        let statement: Statement = "UPDATE item SET body = \(hostile) WHERE id = \("a")"
        #expect(statement.sql == "UPDATE item SET body = ? WHERE id = ?")
        #expect(statement.params.map { $0?.sqlValue } == [.text(hostile), .text("a")])
        #expect(try await client.execute(statement) == 1)
        #expect(try await client.query("SELECT body FROM item WHERE id = \("a")", as: String.self) == [hostile])
    }

    @Test func literalInsideALiteralIsAParameter() {
        let (word, isFirst) = ("x' OR 1", true)
        let pattern: Statement = "title LIKE \("%\(word)%")"
        #expect(pattern.sql == "title LIKE ?" && pattern.params.map { $0?.sqlValue } == [.text("%x' OR 1%")])
        let choice: Statement = "kind = \(isFirst ? "a" : "b")"
        #expect(choice.sql == "kind = ?" && choice.params.map { $0?.sqlValue } == [.text("a")])
        let absent: Statement = "kind = \(nil as String? ?? "none")"
        #expect(absent.sql == "kind = ?" && absent.params.map { $0?.sqlValue } == [.text("none")])
    }

    @Test func everyTypeOfParameterKeepsItsValue() {
        enum Level: String, SQLConvertible { case low }
        let absent: Int? = nil
        let statement: Statement = "\(1), \(2.5), \(true), \("t"), \([UInt8]([7])), \(Level.low), \(absent), \(SQLValue.real(-0.0))"
        #expect(statement.sql == "?, ?, ?, ?, ?, ?, ?, ?")
        #expect(
            statement.params.map { $0?.sqlValue ?? .null } == [
                .integer(1), .real(2.5), .integer(1), .text("t"), .blob([7]), .text("low"), .null, .real(-0.0),
            ])
    }

    @Test func listOfValuesServesIN() async throws {
        let client = try await filled()
        let found = try await client.query("SELECT id FROM item WHERE id IN \(values: ["a", "c"]) AND n = \(1)", as: String.self)
        #expect(found == ["a"])
        let none: [String] = []
        #expect(try await client.query("SELECT id FROM item WHERE id IN \(values: none)").isEmpty)
    }

    @Test func partsOfAStatementKeepTheirParameters() async throws {
        let client = try await filled()
        let small: Statement = "n < \(2)"
        let statement: Statement = "SELECT \(sql: "id") FROM item WHERE \(small) OR body = \("two") ORDER BY n"
        #expect(statement.sql == "SELECT id FROM item WHERE n < ? OR body = ? ORDER BY n")
        #expect(try await client.query(statement, as: String.self) == ["a", "b"])
    }

    @Test func typeOfTheRowsComesFromTheContext() async throws {
        let client = try await filled()
        let items: [Item] = try await client.query("SELECT * FROM item WHERE n > \(1)")
        #expect(items == [Item(id: "b", n: 2, body: "two")])
        let one: Item? = try await client.queryOne("SELECT * FROM item WHERE id = \("a")")
        #expect(one == Item(id: "a", n: 1, body: nil))
        #expect(try await client.queryOne("SELECT count(*) FROM item", as: Int.self) == 2)
        #expect(try await client.queryOne("SELECT n FROM item WHERE id = \("none")", as: Int.self) == nil)
        let error = await thrown { _ = try await client.queryOne("SELECT body FROM item WHERE id = \("a")", as: String.self) }
        #expect(error is DecodingError, "NULL is no String")
    }

    @Test func readersAndWritersShareTheirForms() async throws {
        func add(_ id: String, to writer: some RejoinWriter) async throws -> Int {
            try await writer.execute("INSERT INTO item VALUES (\(id), \(3), NULL)")
            return try await count(writer)
        }
        func count(_ reader: some RejoinReader) async throws -> Int {
            try await reader.queryOne("SELECT count(*) FROM item", as: Int.self) ?? -1
        }
        let client = try await filled()
        #expect(try await add("c", to: client) == 3)
        #expect(try await client.transaction { try await add("d", to: $0) } == 4)
        #expect(try await client.read { try await count($0) } == 4)
        let reader = try await ReadOnlyClient.open(client.path)
        #expect(try await count(reader) == 4)
        try await reader.shutdown()
    }

    @Test func watchAndReturningTakeALiteral() async throws {
        let client = try await filled()
        for try await bodies in client.watch("SELECT body FROM item WHERE id = \("b")", as: String.self) {
            #expect(bodies == ["two"])
            break
        }
        let gone = try await client.executeReturning("DELETE FROM item WHERE n = \(2) RETURNING id")
        #expect(try gone.decode(String.self) == ["b"])
    }
}
