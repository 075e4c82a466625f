// Values and reports as exact JSON, with the names of the scenarios (tests/scenarios/README.md).

import Foundation
import Rejoin

/// A JSON value.
package enum JSON: Codable, Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([String: JSON])

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .int(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSON].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSON].self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .int(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    package init(_ text: some StringProtocol) throws { self = try JSONDecoder().decode(JSON.self, from: Data(text.utf8)) }

    /// Deterministic text: an open file compares its manifest as text.
    package var line: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// A member, or null.
    package subscript(_ name: String) -> JSON { object[name] ?? .null }

    package var object: [String: JSON] { if case .object(let members) = self { members } else { [:] } }
    package var array: [JSON] { if case .array(let values) = self { values } else { [] } }
    package var int: Int? { if case .int(let value) = self { Int(value) } else { text.flatMap { Int($0) } } }
    package var isTrue: Bool { self == .bool(true) }

    package var text: String? { if case .string(let text) = self { text } else { nil } }

    /// The value of a variable in a text.
    package var word: String {
        switch self {
        case .string(let text): text
        default: line
        }
    }

    /// Any report of the package, with names in the form of the scenarios.
    package init(of value: Any) {
        switch value {
        case let value as JSON: self = value
        case let value as SQLValue: self = value.cell
        case let value as String: self = .string(value)
        case let value as Bool: self = .bool(value)
        case let value as any BinaryInteger: self = .int(Int64(value))
        case let value as Date: self = .int(Int64(value.timeIntervalSince1970 * 1000))
        case let value as Duration: self = .int(Int64(value / .milliseconds(1)))
        case let value as [String: SQLValue]: self = .object(value.mapValues(\.cell))
        case let value as [String: String]: self = .object(value.mapValues(JSON.string))
        default: self = .init(reflecting: value)
        }
    }

    private init(reflecting value: Any) {
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .optional: self = mirror.children.first.map { .init(of: $0.value) } ?? .null
        case .collection: self = .array(mirror.children.map { .init(of: $0.value) })
        case .enum where value is SyncState || value is StreamStatus || value is Verdict || value is Undone:
            self = .object(payload(mirror).merging(["kind": .string(snake(mirror.children.first?.label ?? "\(value)"))]) { $1 })
        case .enum: self = .string(snake("\(value)"))
        default: self = .object(members(mirror))
        }
    }
}

/// The associated values of an enum case.
private func payload(_ mirror: Mirror) -> [String: JSON] {
    guard let carried = mirror.children.first?.value else { return [:] }
    let parts = Mirror(reflecting: carried)
    return parts.displayStyle == .tuple ? members(parts) : ["id": JSON(of: carried)]
}

/// The members of a struct or a tuple.
func members(_ mirror: Mirror) -> [String: JSON] {
    let members = mirror.children.map { (snake($0.label ?? ""), JSON(of: $0.value)) }
    return Dictionary(members) { $1 }
}

private func snake(_ name: String) -> String {
    var (snake, last) = ("", Character("A"))
    for letter in name {
        if letter.isUppercase, last.isLowercase { snake += "_" }
        snake += letter.lowercased()
        last = letter
    }
    return snake
}

extension SQLValue {
    /// Parses a value of a command.
    init(cell: JSON) throws {
        switch cell {
        case .null: self = .null
        case .bool(let value): self = .integer(value ? 1 : 0)
        case .int(let value): self = .integer(value)
        case .string(let text): self = .text(text)
        case .object(let cell):
            if let digits = cell["i"]?.text, let number = Int64(digits) {
                self = .integer(number)
            } else if let digits = cell["r"]?.text, let bits = UInt64(digits, radix: 16) {
                self = .real(Double(bitPattern: bits))
            } else if let digits = cell["b"]?.text {
                self = .blob(try bytes(digits))
            } else {
                throw Malformed("no cell: \(cell)")
            }
        default: throw Malformed("no cell: \(cell)")
        }
    }

    /// Writes a value of an answer.
    var cell: JSON {
        switch self {
        case .null: .null
        case .integer(let number): .object(["i": .string(String(number))])
        case .real(let number): .object(["r": .string(hexadecimal(number.bitPattern.bigEndian))])
        case .text(let text): .string(text)
        case .blob(let bytes): .object(["b": .string(bytes.map(hexadecimal).joined())])
        }
    }
}

private func hexadecimal(_ number: some FixedWidthInteger) -> String {
    withUnsafeBytes(of: number) { bytes in
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}

private func bytes(_ digits: String) throws -> [UInt8] {
    let digits = Array(digits)
    guard digits.count % 2 == 0 else { throw Malformed("half a byte") }
    return try stride(from: 0, to: digits.count, by: 2).map { at in
        guard let byte = UInt8(String(digits[at...at + 1]), radix: 16) else { throw Malformed("no byte") }
        return byte
    }
}

/// An invalid command.
struct Malformed: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
