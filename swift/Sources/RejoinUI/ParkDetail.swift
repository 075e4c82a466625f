// The detail of a parked mutation (docs/verdicts.md), decoded.
//
// A detail that is no JSON, or has another form, is an empty one: the mutation is then shown without it.

import Foundation
import Rejoin

/// The detail of a parked mutation.
struct ParkDetail: Sendable {
    /// The server's message, or the messages of each rejection of a partly accepted mutation.
    let message: String?
    let rows: [ConflictRow]

    init(_ json: String?) {
        let content = json.flatMap { try? JSONDecoder().decode(Content.self, from: Data($0.utf8)) }
        var messages: [String] = []
        for refused in content?.refused ?? [] {
            if let message = refused.message, !messages.contains(message) { messages.append(message) }
        }
        let message = messages.isEmpty ? content?.message : messages.joined(separator: "\n")
        self.message = message.flatMap { $0.isEmpty ? nil : $0 }
        rows = content?.rows ?? []
    }

    /// The conflict in a row.
    func row(_ table: String, _ key: SQLValue) -> ConflictRow? {
        rows.first { $0.table == table && $0.id.value(isBlob: key.isBlob) == key }
    }

    private struct Content: Decodable {
        let message: String?
        let rows: [ConflictRow]?
        let refused: [Refusal]?
    }

    private struct Refusal: Decodable { let message: String? }
}

/// A row in conflict.
struct ConflictRow: Sendable, Decodable {
    let table: String
    let id: JSONCell
    /// The columns in conflict; empty if the row was deleted or created.
    let columns: [String]
    /// The server's row at the time of the verdict; `nil` if there is none.
    let theirs: [String: JSONCell]?
}

/// A value of a detail.
enum JSONCell: Sendable, Hashable, Decodable {
    case null
    case integer(Int64)
    case real(Double)
    /// Text, or bytes in Base64.
    case text(String)

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let truth = try? value.decode(Bool.self) {
            self = .integer(truth ? 1 : 0)
        } else if let integer = try? value.decode(Int64.self) {
            self = .integer(integer)
        } else {
            self = .real(try value.decode(Double.self))
        }
    }

    /// The value of a column; JSON does not distinguish text from bytes.
    func value(isBlob: Bool) -> SQLValue {
        switch self {
        case .null: .null
        case .integer(let number): .integer(number)
        case .real(let number): .real(number)
        case .text(let text): isBlob ? Data(base64Encoded: text).map { .blob([UInt8]($0)) } ?? .text(text) : .text(text)
        }
    }
}

extension SQLValue {
    var isBlob: Bool {
        if case .blob = self { true } else { false }
    }

    /// Whether two values are equal; an integer equals a real of the same number.
    func isSame(as other: SQLValue) -> Bool {
        switch (self, other) {
        case (.integer(let one), .real(let other)), (.real(let other), .integer(let one)): Double(one) == other
        default: self == other
        }
    }
}
