// The value of a column as a text field: its kind, its text, and back.

import Foundation
import Rejoin

/// The kind of a column, which an edited value keeps.
public enum FieldKind: Sendable, Hashable {
    /// A whole number.
    case integer
    /// A number.
    case real
    /// Text.
    case text
    /// 1 or 0.
    case boolean
    /// Bytes, which are not editable.
    case blob

    /// - Parameter declared: the type that the table declares for the column.
    /// - Parameter value: a value of the column; SQLite may have stored one of another type.
    init(declared: String?, _ value: SQLValue) {
        let name = (declared ?? "").uppercased()
        let isInteger = name.contains("INT") || name.contains("BOOL")
        switch value {
        case .blob: self = .blob
        case .text where !name.contains("BLOB"): self = .text
        case .real where !name.contains("BLOB"): self = .real
        case .integer(let number) where isInteger:
            self = name.contains("BOOL") && (number == 0 || number == 1) ? .boolean : .integer
        case .null where name.contains("BOOL"): self = .boolean
        case _ where name.contains("BLOB"): self = .blob
        case _ where isInteger: self = .integer
        case _ where ["REAL", "FLOA", "DOUB"].contains(where: name.contains): self = .real
        case .integer: self = .integer
        default: self = .text
        }
    }

    /// The value that a text stands for; `nil` if it is no value of this kind. No text is NULL, except in a text column.
    func parse(_ text: String) -> SQLValue? {
        let trimmed = text.trimmingCharacters(in: .whitespaces)
        if self != .text, self != .blob, trimmed.isEmpty { return .null }
        switch self {
        case .text: return .text(text)
        case .integer: return Int64(trimmed).map { .integer($0) }
        case .boolean: return trimmed == "0" ? .integer(0) : trimmed == "1" ? .integer(1) : nil
        // A keypad may have the decimal comma only. A server stores neither NaN nor infinities.
        case .real:
            return Double(trimmed.replacingOccurrences(of: ",", with: ".")).flatMap { $0.isFinite ? .real($0) : nil }
        case .blob: return nil
        }
    }
}

extension SQLValue {
    /// The text of a field for this value.
    var fieldText: String {
        switch self {
        case .null, .blob: ""
        case .integer(let number): String(number)
        case .real(let number): String(number)
        case .text(let text): text
        }
    }
}
