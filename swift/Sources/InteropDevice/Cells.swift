// Values and mutations as the orders write them: exact, whatever JSON makes of numbers.

import Foundation
import Rejoin

extension SQLValue {
    /// As an order writes it.
    init(cell: Any) throws {
        switch cell {
        case is NSNull: self = .null
        case let text as String: self = .text(text)
        case let cell as [String: String]:
            if let digits = cell["i"], let number = Int64(digits) {
                self = .integer(number)
            } else if let digits = cell["r"], let bits = UInt64(digits, radix: 16) {
                self = .real(Double(bitPattern: bits))
            } else if let digits = cell["b"] {
                self = .blob(try bytes(digits))
            } else {
                throw Malformed("no cell: \(cell)")
            }
        default: throw Malformed("no cell: \(cell)")
        }
    }

    /// As an answer writes it.
    var cell: Any {
        switch self {
        case .null: NSNull()
        case .integer(let number): ["i": String(number)]
        case .real(let number): ["r": hexadecimal(number.bitPattern.bigEndian)]
        case .text(let text): text
        case .blob(let bytes): ["b": bytes.map(hexadecimal).joined()]
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

extension PendingMutation {
    /// As an answer writes it.
    var json: [String: Any] {
        [
            "id": id, "state": "\(state)", "reason": reason.map { "\($0)" } ?? NSNull() as Any,
            "rows": rows.map { row in
                [
                    "table": row.table, "key": row.key.cell, "operation": "\(row.operation)",
                    "columns": row.columns.map { ["name": $0.name, "old": $0.old.cell, "new": $0.new.cell] as [String: Any] },
                ] as [String: Any]
            },
        ]
    }
}

extension RejoinError {
    /// Its name in Rust.
    var kind: String {
        switch self {
        case .invalidInput: "InvalidInput"
        case .constraint: "Constraint"
        case .actionTooSlow: "ActionTooSlow"
        case .actionTooLarge: "ActionTooLarge"
        case .action: "Action"
        case .standsOn: "StandsOn"
        case .unsent: "Unsent"
        case .changed: "Changed"
        case .storage: "Storage"
        case .wrongUser: "WrongUser"
        case .configuration: "Configuration"
        case .suspended: "Suspended"
        case .ended: "Ended"
        case .transactionTimeout: "TransactionTimeout"
        case .offline: "Offline"
        case .unauthorized: "Unauthorized"
        case .upgradeRequired: "UpgradeRequired"
        case .server: "Server"
        case .protocol: "Protocol"
        case .callback: "Callback"
        case .internal: "Internal"
        }
    }
}
