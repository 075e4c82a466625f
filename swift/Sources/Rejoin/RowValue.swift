// Conversion of cells to Swift values. Lossy conversions are rejected, by the rules of all languages
// (docs/row-buffer.md, "Reading a cell as a type").

import Foundation

/// Types that a cell can be read as: Swift's integers (range-checked), `Double`, `Float`, `Bool` (1 or 0), `String`,
/// `Data`, `[UInt8]`, ``SQLValue``, enums with such raw values, and the `Optional` of each if the cell may be NULL.
///
/// An enum conforms by declaration:
///
/// ```swift
/// enum Priority: Int, RowValue { case low, high }
/// let priority: Priority = try row.get("priority")
/// ```
///
/// Any other type reads one of these and converts it:
///
/// ```swift
/// extension Money: RowValue {
///     static func read(_ cell: CellReader) throws -> Money { Money(cents: try cell.get()) }
/// }
/// ```
public protocol RowValue {
    /// Reads a cell.
    ///
    /// - Throws: ``RejoinError/invalidInput(_:)`` with the column's name and the stored type.
    static func read(_ cell: CellReader) throws -> Self
}

/// A cell to read as a Swift type.
public struct CellReader: Sendable {
    @usableFromInline let storage: Storage
    @usableFromInline let cell: Cell
    @usableFromInline let column: Int

    @inlinable
    init(storage: Storage, cell: Cell, column: Int) {
        self.storage = storage
        self.cell = cell
        self.column = column
    }

    /// The cell as another type.
    @inlinable
    public func get<Value: RowValue>(_ type: Value.Type = Value.self) throws -> Value { try Value.read(self) }

    @inlinable
    var isNull: Bool { if case .null = cell { true } else { false } }

    @inlinable
    func integer<Number: FixedWidthInteger>(_: Number.Type) throws -> Number {
        guard case .integer(let value) = cell else { throw mismatch("an integer") }
        guard let number = Number(exactly: value) else { throw refused("it is \(value), out of the range of \(Number.self)") }
        return number
    }

    @usableFromInline
    func bool() throws -> Bool {
        guard case .integer(let value) = cell else { throw mismatch("1 or 0") }
        guard value == 0 || value == 1 else { throw refused("it is \(value), not 1 or 0") }
        return value == 1
    }

    @usableFromInline
    func real() throws -> Double {
        switch cell {
        case .real(let value): return value
        // Exact: an integer that a double cannot represent is not rounded silently.
        case .integer(let value):
            guard let number = Double(exactly: value) else { throw refused("it is \(value), which no double holds") }
            return number
        default: throw mismatch("a real number")
        }
    }

    @usableFromInline
    func float() throws -> Float {
        switch cell {
        case .real(let value):
            let nearest = Float(value)
            guard nearest.isFinite || !value.isFinite else { throw refused("it is \(value), out of the range of Float") }
            return nearest
        case .integer(let value):
            guard let number = Float(exactly: value) else { throw refused("it is \(value), which no float holds") }
            return number
        default: throw mismatch("a real number")
        }
    }

    @usableFromInline
    func text() throws -> String {
        guard case .text(let range) = cell else { throw mismatch("text") }
        guard let text = try storage.text(range) else { throw refused("it is not UTF-8; cast it to BLOB in the query") }
        return text
    }

    @usableFromInline
    func blob() throws -> [UInt8] {
        guard case .blob(let range) = cell else { throw mismatch("bytes") }
        return [UInt8](storage.bytes[range])
    }

    @usableFromInline
    func value() throws -> SQLValue {
        switch cell {
        case .null: .null
        case .integer(let value): .integer(value)
        case .real(let value): .real(value)
        case .text: .text(try text())
        case .blob: .blob(try blob())
        }
    }

    @usableFromInline
    func mismatch(_ wanted: String) -> CellMismatch { refused("it is \(cell.kind), not \(wanted)") }

    @usableFromInline
    func refused(_ why: String) -> CellMismatch { CellMismatch(column: storage.columns[column], why: why) }
}

/// A valid cell of another type than requested: `invalidInput` when read from a row, `DecodingError` when decoded.
@usableFromInline
struct CellMismatch: Error {
    let column: String
    let why: String

    @usableFromInline
    var asInvalidInput: RejoinError { .invalidInput("reading column \(column): \(why)") }
}

extension RowValue where Self: FixedWidthInteger {
    @inlinable
    public static func read(_ cell: CellReader) throws -> Self { try cell.integer(Self.self) }
}

extension Int: RowValue {}
extension Int8: RowValue {}
extension Int16: RowValue {}
extension Int32: RowValue {}
extension Int64: RowValue {}
extension UInt: RowValue {}
extension UInt8: RowValue {}
extension UInt16: RowValue {}
extension UInt32: RowValue {}
extension UInt64: RowValue {}

extension Bool: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> Bool { try cell.bool() }
}

extension Double: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> Double { try cell.real() }
}

extension Float: RowValue {
    /// Rounds a real number to a float and rejects one out of range. An integer must be exact.
    @inlinable
    public static func read(_ cell: CellReader) throws -> Float { try cell.float() }
}

extension String: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> String { try cell.text() }
}

extension [UInt8]: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> [UInt8] { try cell.blob() }
}

extension Data: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> Data { Data(try cell.blob()) }
}

extension SQLValue: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> SQLValue { try cell.value() }
}

extension Optional: RowValue where Wrapped: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> Wrapped? {
        cell.isNull ? nil : .some(try Wrapped.read(cell))
    }
}

extension RowValue where Self: RawRepresentable, RawValue: RowValue {
    @inlinable
    public static func read(_ cell: CellReader) throws -> Self {
        let raw = try RawValue.read(cell)
        guard let value = Self(rawValue: raw) else { throw cell.refused("\(raw) is no \(Self.self)") }
        return value
    }
}
