// Decoding rows: typed values by column, and `Decodable` types. Each error names the column and the reason.

import Foundation
import Rejoin
import Testing

@Suite struct RowDecoderTests {
    private enum Priority: Int, Decodable, RowValue { case low = 1, high = 2 }
    private enum Colour: String, Decodable { case red, green }

    private struct Everything: Decodable, Equatable {
        let id: String
        let number: Int32
        let ratio: Double
        let done: Bool
        let bytes: Data
        let raw: [UInt8]
        let note: String?
        let missing: Int?
        let priority: Priority
        let colour: Colour?
        let link: URL
        let uuid: UUID
    }

    @Test func rowDecodesToAStruct() throws {
        let uuid = UUID()
        let rows = try buffer(
            ["id", "number", "ratio", "done", "bytes", "raw", "note", "priority", "colour", "link", "uuid"],
            ["a", -7, 0.5, true, Data([1, 2]), [3, 4] as [UInt8], nil, 2, "green", "https://a.example/b", uuid.uuidString])
        let expected = Everything(
            id: "a", number: -7, ratio: 0.5, done: true, bytes: Data([1, 2]), raw: [3, 4], note: nil, missing: nil,
            priority: .high, colour: .green, link: URL(string: "https://a.example/b")!, uuid: uuid)
        #expect(try rows.decode(Everything.self) == [expected])
        #expect(try rows[0].decode(Everything.self) == expected)
    }

    @Test func propertyOrderMayDifferFromColumnOrder() throws {
        struct Pair: Decodable, Equatable { let b: Int, a: String, c: String? }
        let rows = try buffer(["a", "x", "b", "c"], ["one", 0, 1, "c1"], ["two", 0, 2, nil])
        #expect(try rows.decode(Pair.self) == [Pair(b: 1, a: "one", c: "c1"), Pair(b: 2, a: "two", c: nil)])
    }

    @Test func singleColumnDecodesToASingleValue() throws {
        let rows = try buffer(["n"], [1], [2])
        #expect(try rows.decode(Int.self) == [1, 2])
        #expect(try rows.decode(Priority.self) == [.low, .high])
        #expect(try buffer(["n"], ["x"], [nil]).decode(String?.self) == ["x", nil])
        #expect(try buffer(["c"], ["red"]).decode(Colour.self) == [.red])
        #expect(throws: DecodingError.self) { try buffer(["a", "b"], [1, 2]).decode(Int.self) }
    }

    @Test func mismatchedCellIsAnErrorThatNamesTheColumn() throws {
        struct Small: Decodable { let n: Int8 }
        struct Flag: Decodable { let n: Bool }
        struct Text: Decodable { let n: String }
        struct Unsigned: Decodable { let n: UInt }
        struct Real: Decodable { let n: Double }
        struct Enumerated: Decodable { let n: Priority }
        let table: [(any Decodable.Type, (any SQLConvertible)?, String)] = [
            (Small.self, 128, "it is 128, out of the range of Int8"),
            (Flag.self, 2, "it is 2, not 1 or 0"),
            (Flag.self, "true", "it is text, not 1 or 0"),
            (Text.self, 1, "it is an integer, not text"),
            (Text.self, nil, "it is NULL, not text"),
            (Unsigned.self, -1, "it is -1, out of the range of UInt"),
            (Real.self, Int64.max, "it is 9223372036854775807, which no double holds"),
            (Enumerated.self, 3, "3 is no Priority"),
        ]
        for (type, value, why) in table {
            let error = try failure { _ = try buffer(["n"], [value])[0].decode(type) }
            #expect(error.path == ["n"], "\(type)")
            #expect(error.why == why, "\(type)")
        }
    }

    @Test func missingColumnErrorListsTheExistingColumns() throws {
        struct Wanted: Decodable { let title: String }
        do {
            _ = try buffer(["id", "name"], [1, 2]).decode(Wanted.self)
            Issue.record("it was decoded")
        } catch DecodingError.keyNotFound(let key, let context) {
            #expect(key.stringValue == "title")
            #expect(context.debugDescription == "the result has the columns id, name")
        }
    }

    @Test func nestedTypesAndDatesAreRejectedWithARemedy() throws {
        struct Inner: Decodable { let a: Int }
        struct Nested: Decodable { let n: Inner }
        struct Listed: Decodable { let n: [String] }
        struct Dated: Decodable { let n: Date }
        let table: [(any Decodable.Type, String)] = [(Nested.self, "flat"), (Listed.self, "flat"), (Dated.self, "no dates")]
        for (type, word) in table {
            let error = try failure { _ = try buffer(["n"], [1])[0].decode(type) }
            #expect(error.why.contains(word), "\(type): \(error.why)")
        }
        #expect(throws: DecodingError.self) { try buffer(["n"], [1]).decode([Int].self) }
    }

    @Test func typedReadsRejectLossyConversions() throws {
        let row = try buffer(["n", "t", "x"], [300, "a", nil])[0]
        #expect(try row.get("n", as: Int.self) == 300)
        #expect(try row.get("n", as: Double.self) == 300)
        #expect(try row.get("x", as: String?.self) == nil)
        #expect(try row.get("t", as: SQLValue.self) == .text("a"))
        let table: [(String, () throws -> Void)] = [
            ("reading column n: it is 300, out of the range of UInt8", { _ = try row.get("n", as: UInt8.self) }),
            ("reading column t: it is text, not an integer", { _ = try row.get("t", as: Int.self) }),
            ("reading column x: it is NULL, not text", { _ = try row.get("x", as: String.self) }),
            ("reading column y: the result has the columns n, t, x", { _ = try row.get("y", as: String.self) }),
            ("reading column 3: the result has the columns n, t, x", { _ = try row.get(3, as: String.self) }),
            ("reading column -1: the result has the columns n, t, x", { _ = try row.get(-1, as: String.self) }),
            ("reading column n: 300 is no Priority", { _ = try row.get("n", as: Priority.self) }),
        ]
        for (reason, read) in table {
            #expect(throws: RejoinError.invalidInput(PlainError(reason: reason)), performing: read)
        }
    }

    @Test func damagedRowIsNotADecodingError() throws {
        struct One: Decodable { let a: Int }
        let damaged = Vectors.all.damaged.first { $0.name == "an integer that is cut" }!
        #expect(throws: RejoinError.internal("row buffer is damaged: a cell is cut")) {
            try RowBuffer(damaged.bytes).decode(One.self)
        }
    }

    private struct Failure { let path: [String], why: String }

    private func failure(_ body: () throws -> Void) throws -> Failure {
        do {
            try body()
        } catch DecodingError.dataCorrupted(let context) {
            return Failure(path: context.codingPath.map(\.stringValue), why: context.debugDescription)
        }
        Issue.record("it was decoded")
        return Failure(path: [], why: "")
    }
}

/// The bytes of a result in the layout of docs/row-buffer.md, with wide encodings only.
func buffer(_ columns: [String], _ rows: SQLParameters...) throws -> RowBuffer {
    func number(_ value: Int) -> [UInt8] { withUnsafeBytes(of: UInt32(value).littleEndian) { [UInt8]($0) } }
    func cell(_ value: SQLValue) -> [UInt8] {
        switch value {
        case .null: [0]
        case .integer(let value): [4] + withUnsafeBytes(of: value.littleEndian) { [UInt8]($0) }
        case .real(let value): [5] + withUnsafeBytes(of: value.bitPattern.littleEndian) { [UInt8]($0) }
        case .text(let value): [7] + number(value.utf8.count) + [UInt8](value.utf8)
        case .blob(let value): [9] + number(value.count) + value
        }
    }
    let names = columns.flatMap { number($0.utf8.count) + [UInt8]($0.utf8) }
    var (body, index): ([UInt8], [UInt8]) = ([], [])
    for row in rows {
        index += number(body.count)
        body += row.flatMap { cell($0?.sqlValue ?? .null) }
    }
    let header = [columns.count, rows.count, names.count, body.count].flatMap(number)
    return try RowBuffer([0x52, 0x4A, 0x42, 0x31] + header + names + body + index)
}
