// Row buffers made of values, for tests of an app; the engine makes the others. docs/row-buffer.md has the format.

import Foundation

extension RowBuffer {
    /// The rows of a result, as the engine would return them.
    ///
    /// ```swift
    /// let rows = RowBuffer(columns: ["id", "rank"], rows: [[.text("a"), .integer(1)], [.text("b"), .null]])
    /// ```
    ///
    /// - Parameter columns: the names of the columns.
    /// - Parameter rows: a value per column in each row; another number is a programming error.
    public init(columns: [String], rows: [[SQLValue]]) {
        var (names, body, index): ([UInt8], [UInt8], [UInt8]) = ([], [], [])
        for name in columns {
            names.append(number: UInt32(name.utf8.count))
            names += name.utf8
        }
        for row in rows {
            precondition(row.count == columns.count, "a row has \(row.count) values for \(columns.count) columns")
            index.append(number: UInt32(body.count))
            for value in row { body.append(cell: value) }
        }
        var bytes: [UInt8] = [0x52, 0x4A, 0x42, 0x31]
        for count in [columns.count, rows.count, names.count, body.count] { bytes.append(number: UInt32(count)) }
        // The header was made from these parts.
        storage = try! Storage(bytes + names + body + index)
    }
}

extension [UInt8] {
    fileprivate mutating func append(number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
    }

    /// Appends a value with the narrowest tag that holds it.
    fileprivate mutating func append(cell value: SQLValue) {
        switch value {
        case .null: append(Cell.Tag.null)
        case .integer(let value): append(integer: value)
        case .real(let value):
            append(Cell.Tag.real)
            append(number: value.bitPattern)
        case .text(let text): append(payload: Array(text.utf8), Cell.Tag.text8, Cell.Tag.text32)
        case .blob(let bytes): append(payload: bytes, Cell.Tag.blob8, Cell.Tag.blob32)
        }
    }

    private mutating func append(integer value: Int64) {
        if let value = Int8(exactly: value) {
            append(Cell.Tag.int8)
            append(number: value)
        } else if let value = Int16(exactly: value) {
            append(Cell.Tag.int16)
            append(number: value)
        } else if let value = Int32(exactly: value) {
            append(Cell.Tag.int32)
            append(number: value)
        } else {
            append(Cell.Tag.int64)
            append(number: value)
        }
    }

    private mutating func append(payload: [UInt8], _ short: UInt8, _ long: UInt8) {
        if let length = UInt8(exactly: payload.count) {
            append(short)
            append(length)
        } else {
            append(long)
            append(number: UInt32(payload.count))
        }
        self += payload
    }
}
