// Decodes rows to `Decodable` values with properties matched to columns by name.
//
// A row that does not fit throws `DecodingError` with the column; damaged bytes throw `RejoinError`. RowValue.swift
// defines the allowed conversions.

import Foundation

/// Decodes the cursor's current row.
struct RowDecoder: Decoder {
    private let cursor: RowCursor
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(_ cursor: RowCursor) { self.cursor = cursor }

    /// Whether a type is a single value read from the only column, or one that `CellDecoder` handles itself. The same for
    /// all rows, and expensive to compute.
    static func isSingle(_ type: any Decodable.Type) -> Bool {
        type is any RowValue.Type || CellDecoder.isSpecial(type)
    }

    func decode<Value: Decodable>(_ type: Value.Type, isSingle: Bool) throws -> Value {
        isSingle ? try singleValueContainer().decode(type) : try Value(from: self)
    }

    func container<Key: CodingKey>(keyedBy _: Key.Type) throws -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(RowContainer<Key>(cursor: cursor))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw wrong(codingPath, "a row is no list: decode a type with a property for each column")
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        guard cursor.storage.columns.count == 1 else {
            throw wrong(codingPath, "a single value is read of one column, and the result has \(cursor.storage.columns.count)")
        }
        return CellDecoder(cursor: cursor, column: 0, codingPath: codingPath)
    }
}

/// The columns of a row, by property name.
private struct RowContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let cursor: RowCursor
    var codingPath: [any CodingKey] { [] }
    var allKeys: [Key] { cursor.storage.columns.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool { cursor.column(key.stringValue) != nil }

    func decodeNil(forKey key: Key) throws -> Bool { try cursor.reader(column(key)).isNull }

    func decode(_: Bool.Type, forKey key: Key) throws -> Bool { try read(key) { try $0.bool() } }
    func decode(_: String.Type, forKey key: Key) throws -> String { try read(key) { try $0.text() } }
    func decode(_: Double.Type, forKey key: Key) throws -> Double { try read(key) { try $0.real() } }
    func decode(_: Float.Type, forKey key: Key) throws -> Float { try read(key) { try $0.float() } }
    func decode(_ type: Int.Type, forKey key: Key) throws -> Int { try read(key) { try $0.integer(type) } }
    func decode(_ type: Int8.Type, forKey key: Key) throws -> Int8 { try read(key) { try $0.integer(type) } }
    func decode(_ type: Int16.Type, forKey key: Key) throws -> Int16 { try read(key) { try $0.integer(type) } }
    func decode(_ type: Int32.Type, forKey key: Key) throws -> Int32 { try read(key) { try $0.integer(type) } }
    func decode(_ type: Int64.Type, forKey key: Key) throws -> Int64 { try read(key) { try $0.integer(type) } }
    func decode(_ type: UInt.Type, forKey key: Key) throws -> UInt { try read(key) { try $0.integer(type) } }
    func decode(_ type: UInt8.Type, forKey key: Key) throws -> UInt8 { try read(key) { try $0.integer(type) } }
    func decode(_ type: UInt16.Type, forKey key: Key) throws -> UInt16 { try read(key) { try $0.integer(type) } }
    func decode(_ type: UInt32.Type, forKey key: Key) throws -> UInt32 { try read(key) { try $0.integer(type) } }
    func decode(_ type: UInt64.Type, forKey key: Key) throws -> UInt64 { try read(key) { try $0.integer(type) } }

    // Overloads for the most common optional types: one access to the cell instead of three.
    func decodeIfPresent(_: String.Type, forKey key: Key) throws -> String? { try readIfPresent(key) { try $0.text() } }
    func decodeIfPresent(_: Bool.Type, forKey key: Key) throws -> Bool? { try readIfPresent(key) { try $0.bool() } }
    func decodeIfPresent(_: Double.Type, forKey key: Key) throws -> Double? { try readIfPresent(key) { try $0.real() } }
    func decodeIfPresent(_ type: Int.Type, forKey key: Key) throws -> Int? {
        try readIfPresent(key) { try $0.integer(type) }
    }
    func decodeIfPresent(_ type: Int64.Type, forKey key: Key) throws -> Int64? {
        try readIfPresent(key) { try $0.integer(type) }
    }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try CellDecoder(cursor: cursor, column: column(key), codingPath: [key]).decode(type)
    }

    func nestedContainer<Nested: CodingKey>(keyedBy _: Nested.Type, forKey key: Key) throws
        -> KeyedDecodingContainer<Nested>
    {
        throw nested([key])
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { throw nested([key]) }

    func superDecoder() throws -> any Decoder { throw wrong([], "a row has no super-decoder") }
    func superDecoder(forKey key: Key) throws -> any Decoder { throw nested([key]) }

    private func column(_ key: Key) throws -> Int {
        guard let column = cursor.column(key.stringValue) else {
            let names = cursor.storage.columns.joined(separator: ", ")
            throw DecodingError.keyNotFound(
                key, .init(codingPath: [], debugDescription: "the result has the columns \(names)"))
        }
        return column
    }

    @inline(__always)
    private func read<Value>(_ key: Key, _ body: (CellReader) throws -> Value) throws -> Value {
        let column = try column(key)
        do {
            return try body(try cursor.reader(column))
        } catch let mismatch as CellMismatch {
            throw wrong([key], mismatch.why)
        }
    }

    @inline(__always)
    private func readIfPresent<Value>(_ key: Key, _ body: (CellReader) throws -> Value) throws -> Value? {
        guard let column = cursor.column(key.stringValue) else { return nil }
        do {
            let cell = try cursor.reader(column)
            return cell.isNull ? nil : try body(cell)
        } catch let mismatch as CellMismatch {
            throw wrong([key], mismatch.why)
        }
    }
}

/// One cell, for types that decode from a single value.
private struct CellDecoder: Decoder, SingleValueDecodingContainer {
    let cursor: RowCursor
    let column: Int
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy _: Key.Type) throws -> KeyedDecodingContainer<Key> { throw nested(codingPath) }
    func unkeyedContainer() throws -> any UnkeyedDecodingContainer { throw nested(codingPath) }
    func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

    func decodeNil() -> Bool { (try? cursor.reader(column).isNull) ?? false }

    // Types that accept several kinds of values try them in turn; these are the attempts.
    func decode(_ type: Bool.Type) throws -> Bool { try read(type) }
    func decode(_ type: String.Type) throws -> String { try read(type) }
    func decode(_ type: Double.Type) throws -> Double { try read(type) }
    func decode(_ type: Float.Type) throws -> Float { try read(type) }
    func decode(_ type: Int.Type) throws -> Int { try read(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try read(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try read(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try read(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try read(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try read(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try read(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try read(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try read(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try read(type) }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if type == Date.self {
            throw wrong(codingPath, "SQL has no dates: read the text or number that stands for it, and convert it")
        }
        if type == URL.self {
            let text = try read(String.self)
            guard let url = URL(string: text) as? Value else { throw wrong(codingPath, "it is no address") }
            return url
        }
        // Before the type's own initialiser: `[UInt8]` and `Data` would request an array.
        if let known = type as? any RowValue.Type, let value = try read(known) as? Value { return value }
        return try Value(from: self)
    }

    /// Types whose own initialiser would misread the cell.
    static func isSpecial(_ type: any Decodable.Type) -> Bool { type == Date.self || type == URL.self }

    private func read<Value: RowValue>(_ type: Value.Type) throws -> Value {
        do {
            return try type.read(try cursor.reader(column))
        } catch let mismatch as CellMismatch {
            // The only column of a result has no key for the coding path.
            throw wrong(codingPath, codingPath.isEmpty ? "column \(mismatch.column): \(mismatch.why)" : mismatch.why)
        }
    }
}

private func nested(_ path: [any CodingKey]) -> DecodingError {
    wrong(path, "a row is flat: nest by asking for the columns and decoding in parts, or decode JSON from its text")
}

private func wrong(_ path: [any CodingKey], _ why: String) -> DecodingError {
    .dataCorrupted(.init(codingPath: path, debugDescription: why))
}
