// SQL values: parameters and cells, without lossy conversions.

import Foundation

/// An SQL value: a parameter, or a stored cell.
public enum SQLValue: Sendable, Hashable {
    /// NULL.
    case null
    /// A 64-bit integer.
    case integer(Int64)
    /// A double, including negative zero.
    case real(Double)
    /// Text.
    case text(String)
    /// Bytes.
    case blob([UInt8])
}

/// A type that can be a parameter of a statement.
///
/// Swift's integers (except unsigned 64-bit ones, which SQL cannot store), `Double`, `Float`, `String`, `Bool` (as 1 or
/// 0), `Data`, `[UInt8]`, and ``SQLValue`` itself; `nil` is NULL. An enum with raw values conforms by declaration:
///
/// ```swift
/// enum Priority: String, SQLConvertible { case low, high }
/// try await client.execute("UPDATE task SET note = ? WHERE id = ?", [Priority.high, "a"])
/// ```
public protocol SQLConvertible: Sendable {
    /// The value in SQL.
    var sqlValue: SQLValue { get }
}

/// The parameters of a statement, in the order of its question marks.
public typealias SQLParameters = [(any SQLConvertible)?]

extension SQLValue: SQLConvertible {
    public var sqlValue: SQLValue { self }
}

extension SQLConvertible where Self: RawRepresentable, RawValue: SQLConvertible {
    public var sqlValue: SQLValue { rawValue.sqlValue }
}

extension SQLConvertible where Self: FixedWidthInteger {
    // Only integer types whose values all fit in 64 signed bits conform.
    public var sqlValue: SQLValue { .integer(Int64(truncatingIfNeeded: self)) }
}

extension Int: SQLConvertible {}
extension Int8: SQLConvertible {}
extension Int16: SQLConvertible {}
extension Int32: SQLConvertible {}
extension Int64: SQLConvertible {}
extension UInt8: SQLConvertible {}
extension UInt16: SQLConvertible {}
extension UInt32: SQLConvertible {}

extension Bool: SQLConvertible {
    public var sqlValue: SQLValue { .integer(self ? 1 : 0) }
}

extension Double: SQLConvertible {
    public var sqlValue: SQLValue { .real(self) }
}

extension Float: SQLConvertible {
    public var sqlValue: SQLValue { .real(Double(self)) }
}

extension String: SQLConvertible {
    public var sqlValue: SQLValue { .text(self) }
}

extension Data: SQLConvertible {
    public var sqlValue: SQLValue { .blob([UInt8](self)) }
}

extension [UInt8]: SQLConvertible {
    public var sqlValue: SQLValue { .blob(self) }
}
