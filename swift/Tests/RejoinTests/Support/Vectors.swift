// The row buffer vectors (core/vectors/row-buffer.json), made by an encoder in another language; docs/row-buffer.md
// describes them.

import Foundation
import Rejoin

/// A result and its encoded bytes.
struct Vector: Decodable, CustomStringConvertible {
    let name: String
    let columns: [String]
    private let rows: [[Cell]]
    private let times: Int?
    private let hex: String?
    private let pieces: [Piece]?

    var description: String { name }
    var bytes: [UInt8] { hex.map(bytesOf) ?? (pieces ?? []).flatMap(\.bytes) }
    var count: Int { rows.count * (times ?? 1) }

    /// The distinct rows; row `n` of the result is the one at `n` modulo their number.
    var patterns: [[SQLValue]] { rows.map { $0.map(\.value) } }

    private struct Cell: Decodable {
        let null, integer, real, text, blob: String?
        let times: Int?

        var value: SQLValue {
            let times = times ?? 1
            if let integer { return .integer(Int64(integer)!) }
            if let real { return .real(Double(bitPattern: UInt64(real, radix: 16)!)) }
            if let text { return .text(String(repeating: text, count: times)) }
            if let blob { return .blob([[UInt8]](repeating: bytesOf(blob), count: times).flatMap { $0 }) }
            return .null
        }
    }

    private struct Piece: Decodable {
        let hex: String?
        let times: Int?
        let index: Int?
        let step: Int?

        var bytes: [UInt8] {
            if let hex { return [[UInt8]](repeating: bytesOf(hex), count: times ?? 1).flatMap { $0 } }
            return (0..<(index ?? 0)).flatMap { number in
                withUnsafeBytes(of: UInt32(number * (step ?? 0)).littleEndian) { [UInt8]($0) }
            }
        }
    }
}

/// Bytes that must be rejected.
struct DamagedVector: Decodable, CustomStringConvertible {
    let name: String
    let found: String
    private let hex: String

    var description: String { name }
    var bytes: [UInt8] { bytesOf(hex) }
}

struct Vectors: Decodable {
    let valid: [Vector]
    let readable: [Vector]
    let damaged: [DamagedVector]

    static let all: Vectors = {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../..")
        let file = root.appendingPathComponent("core/vectors/row-buffer.json").standardizedFileURL
        return try! JSONDecoder().decode(Vectors.self, from: Data(contentsOf: file))
    }()
}

private func bytesOf(_ hex: String) -> [UInt8] {
    var digits = hex.utf8.makeIterator()
    var bytes: [UInt8] = []
    bytes.reserveCapacity(hex.utf8.count / 2)
    func digit(_ character: UInt8) -> UInt8 { character > 0x60 ? character - 0x57 : character - 0x30 }
    while let high = digits.next(), let low = digits.next() { bytes.append(digit(high) << 4 | digit(low)) }
    return bytes
}
