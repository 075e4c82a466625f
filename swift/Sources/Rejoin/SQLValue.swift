// A value of SQL: what goes into a statement and what stands in a cell. Border: no conversion that could lose anything.

import Foundation

/// A value of SQL: a parameter, or a cell as it is stored.
public enum SQLValue: Sendable, Hashable {
    /// NULL.
    case null
    /// An integer, with all its 64 bits.
    case integer(Int64)
    /// A double, with its sign of zero.
    case real(Double)
    /// Text.
    case text(String)
    /// Bytes.
    case blob([UInt8])
}

/// What can stand among the parameters of a statement.
///
/// Swift's integers (but the unsigned ones of 64 bits, which SQL has no room for), `Double`, `Float`, `String`, `Bool`
/// (as 1 or 0), `Data`, `[UInt8]`, and ``SQLValue`` itself; `nil` is NULL. An enum with raw values joins with a mere
/// declaration:
///
/// ```swift
/// enum Priority: String, SQLConvertible { case low, high }
/// try await client.execute("UPDATE task SET note = ? WHERE id = ?", [Priority.high, "a"])
/// ```
public protocol SQLConvertible: Sendable {
    /// The value as SQL knows it.
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
    // Only integers of which every one fits conform.
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
