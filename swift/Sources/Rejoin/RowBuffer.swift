// The rows of a result as one block of bytes (docs/row-buffer.md), decoded on access.
//
// Truncated or changed bytes cause an error, never a crash or an out-of-bounds read. RowValue.swift and
// RowDecoder.swift convert cells; only Cell.swift reads bytes.

import Foundation

/// The rows of a result. Copies share the bytes; cells are decoded on access.
///
/// ```swift
/// for row in try await client.query("SELECT id, title FROM task") {
///     print(try row.get("title", as: String.self))
/// }
/// ```
///
/// Two results are equal if and only if their bytes are equal.
public struct RowBuffer: Sendable {
    let storage: Storage

    /// Reads the header of `bytes`; cells are checked when they are read.
    ///
    /// - Throws: ``RejoinError/internal(_:)`` if the bytes are not a complete row buffer.
    public init(_ bytes: [UInt8]) throws {
        storage = try Storage(bytes)
    }

    /// The names of the columns, in order. Names may repeat.
    public var columns: [String] { storage.columns }

    /// The bytes, as received from the engine.
    public var bytes: [UInt8] { storage.bytes }

    /// Decodes all rows to one type; see ``Row/decode(_:)``.
    ///
    /// ```swift
    /// struct Todo: Decodable { let id: String; let title: String; let note: String? }
    /// let tasks = try rows.decode(Todo.self)
    /// ```
    ///
    /// - Parameter type: the type of a row, or of the only column.
    /// - Throws: `DecodingError` for a row that does not fit, ``RejoinError/internal(_:)`` for a damaged one.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> [Value] {
        let (cursor, isSingle) = (RowCursor(storage), RowDecoder.isSingle(type))
        var values: [Value] = []
        values.reserveCapacity(count)
        for number in 0..<count {
            cursor.move(toRow: number)
            values.append(try RowDecoder(cursor).decode(type, isSingle: isSingle))
        }
        return values
    }
}

extension RowBuffer: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { storage.rows }

    /// The row at this index, from 0. As with an array, an invalid index is a programming error.
    public subscript(number: Int) -> Row {
        precondition(number >= 0 && number < storage.rows, "row number out of range")
        return Row(storage: storage, number: number)
    }
}

extension RowBuffer: Equatable {
    public static func == (one: RowBuffer, other: RowBuffer) -> Bool {
        one.storage === other.storage || one.storage.bytes == other.storage.bytes
    }
}

extension RowBuffer: CustomStringConvertible {
    /// The names and sizes, without cell values.
    public var description: String { "RowBuffer(columns: \(columns), rows: \(count), bytes: \(bytes.count))" }
}

/// The bytes with a parsed header.
@usableFromInline
final class Storage: Sendable {
    let bytes: [UInt8]
    @usableFromInline let columns: [String]
    /// The number of columns.
    @usableFromInline let width: Int
    let rows: Int
    /// The range of the cells in `bytes`; the row index follows.
    let body: Range<Int>
    /// Whether the column names are unique, so that any match is the first.
    let namesAreUnique: Bool

    init(_ bytes: [UInt8]) throws {
        let header = try bytes.withUnsafeBytes { bytes in try Header(Bytes(bytes)) }
        self.bytes = bytes
        columns = header.columns
        width = header.columns.count
        rows = header.rows
        body = header.body
        namesAreUnique = Set(header.columns).count == header.columns.count
    }

    /// The index of a column by name, searched from `hint` on because columns are mostly read in order.
    @usableFromInline
    func column(_ name: String, hint: Int = 0) -> Int? {
        if namesAreUnique, hint < width, columns[hint] == name { return hint }
        return columns.firstIndex(of: name)
    }

    /// The cell of an existing row and column, searched from the nearest known offset. Cells have no index: skipping
    /// one reads its tag.
    @usableFromInline
    func cell(row: Int, column: Int, _ places: Places) throws -> Cell {
        try bytes.withUnsafeBytes { memory in
            let bytes = Bytes(memory)
            var (passed, at) = (min(column, Places.count - 1), 0)
            if let offset = places[passed] {
                at = body.lowerBound + offset
            } else {
                (passed, at) = (0, try start(ofRow: row, bytes))
            }
            while passed < column {
                try Cell.skip(bytes, &at, end: body.upperBound)
                passed += 1
            }
            return try Cell.read(bytes, &at, end: body.upperBound)
        }
    }

    /// The offsets of the first cells of an existing row, up to damaged bytes; reading a cell after them throws.
    func places(ofRow row: Int) -> Places {
        bytes.withUnsafeBytes { memory in
            let bytes = Bytes(memory)
            var places = Places()
            guard var at = try? start(ofRow: row, bytes) else { return places }
            for column in 0..<min(width, Places.count) {
                places[column] = at - body.lowerBound
                guard (try? Cell.skip(bytes, &at, end: body.upperBound)) != nil else { break }
            }
            return places
        }
    }

    /// The text in a range, `nil` if it is not UTF-8.
    func text(_ range: Range<Int>) throws -> String? { try bytes.withUnsafeBytes { try Bytes($0).text(range) } }

    /// The offset of a row, checked against the bytes.
    func start(ofRow row: Int, _ bytes: Bytes) throws -> Int {
        let offset = try bytes.number(at: body.upperBound + 4 * row)
        guard offset <= body.count else { throw damaged("a row begins outside") }
        return body.lowerBound + offset
    }

    @usableFromInline
    func noColumn(_ what: String) -> RejoinError {
        .invalidInput("reading column \(what): the result has the columns \(columns.joined(separator: ", "))")
    }
}

/// The parsed header.
private struct Header {
    let columns: [String]
    let rows: Int
    let body: Range<Int>

    private static let size = 20

    init(_ bytes: Bytes) throws {
        guard bytes.count >= Header.size else { throw damaged("shorter than its header") }
        guard bytes.starts(with: [0x52, 0x4A, 0x42, 0x31]) else { throw damaged("does not begin with RJB1") }
        let names = Header.size + (try bytes.number(at: 12))
        let body = names + (try bytes.number(at: 16))
        rows = try bytes.number(at: 8)
        // Each number is below 2^32 and Int has 64 bits on all supported platforms, so no sum overflows.
        guard body + 4 * rows == bytes.count else { throw damaged("its lengths do not add up") }
        self.body = names..<body
        columns = try Header.names(bytes, Header.size..<names, count: try bytes.number(at: 4))
    }

    private static func names(_ bytes: Bytes, _ range: Range<Int>, count: Int) throws -> [String] {
        // Each name takes at least four bytes, so a damaged count cannot cause an oversized allocation.
        guard count <= range.count / 4 else { throw damaged("more columns than names") }
        var names: [String] = []
        names.reserveCapacity(count)
        var at = range.lowerBound
        for _ in 0..<count {
            guard range.upperBound - at >= 4 else { throw damaged("a name is cut") }
            let length = try bytes.number(at: at)
            guard range.upperBound - at - 4 >= length else { throw damaged("a name is cut") }
            guard let name = try bytes.text(at + 4..<at + 4 + length) else { throw damaged("a name is not UTF-8") }
            names.append(name)
            at += 4 + length
        }
        guard at == range.upperBound else { throw damaged("something follows the names") }
        return names
    }
}

func damaged(_ how: String) -> RejoinError {
    .internal("row buffer is damaged: \(how)")
}
