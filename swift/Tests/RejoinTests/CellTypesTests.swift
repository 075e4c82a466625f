// The type conversions of cells, by the table shared by all languages (docs/row-buffer.md).

import Foundation
import Rejoin
import Testing

@Suite struct CellTypesTests {
    private struct Table: Decodable {
        struct Case: Decodable {
            let cell: [String: String]
            let fits: [String: String]
        }
        let types: [String]
        let cells: [Case]
    }

    private struct Holder<Value: Decodable>: Decodable { let c: Value }

    /// One way to read column `c`; the result is written as in the table.
    private typealias Reading = (Row) throws -> String

    /// By getter, by decoder as the only column, and by decoder as a property.
    private func ways<Value: RowValue & Decodable>(_: Value.Type, _ shown: @escaping (Value) -> String) -> [Reading] {
        [
            { shown(try $0.get("c", as: Value.self)) }, { shown(try $0.decode(Value.self)) },
            { shown(try $0.decode(Holder<Value>.self).c) },
        ]
    }

    private func integer<Value: RowValue & Decodable & FixedWidthInteger>(_ type: Value.Type) -> [Reading] { ways(type) { "\($0)" } }

    private func readings(_ type: String) -> [Reading] {
        switch type {
        case "bool": ways(Bool.self) { "\($0)" }
        case "i8": integer(Int8.self)
        case "i16": integer(Int16.self)
        case "i32": integer(Int32.self)
        case "i64": integer(Int64.self) + integer(Int.self)
        case "u8": integer(UInt8.self)
        case "u16": integer(UInt16.self)
        case "u32": integer(UInt32.self)
        case "u64": integer(UInt64.self) + integer(UInt.self)
        case "f32": ways(Float.self) { hex($0.bitPattern, 8) }
        case "f64": ways(Double.self) { hex($0.bitPattern, 16) }
        case "text": ways(String.self) { $0 }
        case "blob": ways(Data.self) { $0.map { hex($0, 2) }.joined() } + ways([UInt8].self) { $0.map { hex($0, 2) }.joined() }
        default: []
        }
    }

    private func hex(_ bits: some BinaryInteger, _ digits: Int) -> String {
        let text = String(bits, radix: 16)
        return String(repeating: "0", count: digits - text.count) + text
    }

    private func value(_ cell: [String: String]) -> SQLValue {
        if let integer = cell["integer"] { return .integer(Int64(integer)!) }
        if let real = cell["real"] { return .real(Double(bitPattern: UInt64(real, radix: 16)!)) }
        if let text = cell["text"] { return .text(text) }
        if let blob = cell["blob"] { return .blob(blob.isEmpty ? [] : [UInt8(blob, radix: 16)!]) }
        return .null
    }

    @Test func cellTypeConversionsMatchTheSharedTable() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../..")
        let file = root.appendingPathComponent("core/vectors/cell-types.json").standardizedFileURL
        let table = try JSONDecoder().decode(Table.self, from: Data(contentsOf: file))
        var (given, refused) = (0, 0)
        for test in table.cells {
            let row = try buffer(["c"], [value(test.cell)])[0]
            for type in table.types {
                for read in readings(type) {
                    if let expected = test.fits[type] {
                        #expect(try read(row) == expected, "\(test.cell) as \(type)")
                        given += 1
                    } else {
                        #expect(refusal { _ = try read(row) } == "c", "\(test.cell) as \(type)")
                        refused += 1
                    }
                }
            }
        }
        #expect(given > 400 && refused > 800, "\(given) given, \(refused) refused")
    }

    @Test func nullDecodesToNilForEveryOptionalType() throws {
        let row = try buffer(["c"], [nil])[0]
        #expect(try row.get("c", as: Bool?.self) == nil)
        #expect(try row.get("c", as: UInt8?.self) == nil)
        #expect(try row.get("c", as: Float?.self) == nil)
        #expect(try row.decode(Holder<Int?>.self).c == nil)
        #expect(try row.decode(Holder<Float?>.self).c == nil)
        #expect(try row.decode(String?.self) == nil)
    }

    /// The column named in an error.
    private func refusal(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "nothing: it was read"
        } catch RejoinError.invalidInput(let error) {
            return error.reason.hasPrefix("reading column c: ") ? "c" : error.reason
        } catch DecodingError.dataCorrupted(let context) {
            if let key = context.codingPath.first { return key.stringValue }
            return context.debugDescription.hasPrefix("column c: ") ? "c" : context.debugDescription
        } catch {
            return "\(error)"
        }
    }
}
