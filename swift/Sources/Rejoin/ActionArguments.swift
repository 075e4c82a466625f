// Arguments and results of actions as JSON, through Foundation's coders; instants use the text format of SQL columns.

import Foundation

/// Arguments of an action by parameter name; `nil` is null. Any `Encodable` value is allowed.
public typealias ActionArguments = [String: (any Encodable & Sendable)?]

/// The result of an action.
public struct Performed: Sendable, Hashable {
    /// The mutation that waits for the server; `nil` if the action wrote nothing to synced tables.
    public let id: PendingMutation.ID?
    /// The value that the action returned, as JSON; `null` if there is none.
    public let json: String

    /// Decodes the action's value.
    ///
    /// - Parameter type: the type of the value; optional if the value may be null.
    /// - Throws: `DecodingError` if the value has another type. The action was performed nevertheless.
    public func value<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value { try JSONText(json).decode(type) }

    /// - Parameter id: the mutation that waits for the server.
    /// - Parameter json: the value of the action.
    public init(id: PendingMutation.ID?, json: String = "null") {
        self.id = id
        self.json = json
    }
}

/// JSON that crosses the FFI boundary; the empty string is null.
struct JSONText {
    let text: String

    init(_ text: String) { self.text = text }

    init(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(date.rfc3339)
        }
        text = String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    init(_ arguments: ActionArguments) throws { try self.init(Members(arguments)) }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            guard let date = Date(rfc3339: text) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "\(text) is no instant of RFC 3339")
            }
            return date
        }
        return try decoder.decode(type, from: Data((text.isEmpty ? "null" : text).utf8))
    }
}

extension Date {
    /// The instant in the format of all columns, in microseconds: `2026-01-02T03:04:05.000000Z`.
    var rfc3339: String {
        let micros = Int64(clamping: (timeIntervalSince1970 * 1e6).rounded())
        let (seconds, part) = (micros.flooringDivision(by: 1_000_000), micros.modulo(1_000_000))
        let whole = Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
        return "\(whole.dropLast()).\(String(1_000_000 + part).dropFirst())Z"
    }

    /// Parses an RFC 3339 text, to the microsecond.
    init?(rfc3339 text: String) {
        let point = text.firstIndex(of: ".") ?? text.endIndex
        let rest = text[point...].dropFirst()
        let digits = rest.prefix { $0.isNumber }
        if !rest.isEmpty && digits.isEmpty { return nil }
        let withoutFraction = String(text[..<point]) + String(rest.dropFirst(digits.count))
        guard let whole = try? Date.ISO8601FormatStyle().parse(withoutFraction),
            let micros = Int64((String(digits) + "000000").prefix(6))
        else { return nil }
        self.init(micros: Int64(whole.timeIntervalSince1970) * 1_000_000 + micros)
    }
}

extension Int64 {
    fileprivate init(clamping value: Double) {
        self = Int64(exactly: value) ?? (value < 0 ? .min : .max)
    }

    fileprivate func modulo(_ divisor: Int64) -> Int64 { ((self % divisor) + divisor) % divisor }

    fileprivate func flooringDivision(by divisor: Int64) -> Int64 { (self - modulo(divisor)) / divisor }
}

/// An object with members of different types.
private struct Members: Encodable {
    let members: ActionArguments

    init(_ members: ActionArguments) { self.members = members }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Name.self)
        for (name, value) in members {
            guard let value else {
                try container.encodeNil(forKey: Name(name))
                continue
            }
            try container.encode(value, forKey: Name(name))
        }
    }
}

private struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
