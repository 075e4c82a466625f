// The bytes of a row buffer: the only file that reads memory by offset.
//
// Every read is bounds-checked, so damaged bytes cause an error. This file handles tags and widths only, no rows, names
// or Swift types.

import Foundation

/// Memory with a bounds check before each read.
struct Bytes {
    private let memory: UnsafeRawBufferPointer

    init(_ memory: UnsafeRawBufferPointer) { self.memory = memory }

    var count: Int { memory.count }

    func starts(with prefix: [UInt8]) -> Bool { memory.starts(with: prefix) }

    /// A little-endian 32-bit number.
    @inline(__always)
    func number(at offset: Int) throws -> Int {
        Int(try load(UInt32.self, at: offset, end: count))
    }

    /// A little-endian integer that ends before `end`.
    @inline(__always)
    func load<Number: FixedWidthInteger & BitwiseCopyable>(_: Number.Type, at offset: Int, end: Int) throws -> Number {
        try check(offset, MemoryLayout<Number>.size, end)
        return Number(littleEndian: memory.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    /// The text in a range, `nil` if it is not UTF-8.
    @inline(__always)
    func text(_ range: Range<Int>) throws -> String? {
        try check(range.lowerBound, range.count, count)
        return validText(UnsafeRawBufferPointer(rebasing: memory[range]))
    }

    @inline(__always)
    private func check(_ offset: Int, _ length: Int, _ end: Int) throws {
        // No sum of the two: with an offset near Int.max it would trap.
        guard offset >= 0, end <= count, offset <= end, end - offset >= length else { throw damaged("a cell is cut") }
    }
}

/// A string of these bytes if they are UTF-8. `String(decoding:)` repairs invalid input, and a repaired string has other
/// bytes. Swift 6.0's `String(validating:as:)` is slower: it is not specialised.
@inline(__always)
private func validText(_ bytes: UnsafeRawBufferPointer) -> String? {
    let text = String(decoding: bytes.bindMemory(to: UInt8.self), as: UTF8.self)
    guard text.utf8.count == bytes.count else { return nil }
    guard let start = bytes.baseAddress else { return text }
    let isSame = text.utf8.withContiguousStorageIfAvailable { memcmp($0.baseAddress!, start, bytes.count) == 0 }
    return isSame ?? text.utf8.elementsEqual(bytes) ? text : nil
}

/// A cell: its type and the location of its payload.
@usableFromInline
enum Cell: Sendable {
    case null
    case integer(Int64)
    case real(Double)
    case text(Range<Int>)
    case blob(Range<Int>)

    /// Cell tags. Integers use the narrowest width that holds them; lengths up to 255 use one byte.
    enum Tag {
        static let null: UInt8 = 0
        static let int8: UInt8 = 1
        static let int16: UInt8 = 2
        static let int32: UInt8 = 3
        static let int64: UInt8 = 4
        static let real: UInt8 = 5
        static let text8: UInt8 = 6
        static let text32: UInt8 = 7
        static let blob8: UInt8 = 8
        static let blob32: UInt8 = 9
        static let `false`: UInt8 = 10
        static let `true`: UInt8 = 11
    }

    /// Reads the cell at `at` and moves `at` past it.
    @inline(__always)
    static func read(_ bytes: Bytes, _ at: inout Int, end: Int) throws -> Cell {
        let tag = try bytes.load(UInt8.self, at: at, end: end)
        let payload = at + 1
        let next = payload + (try width(tag, bytes, payload, end))
        guard next <= end else { throw damaged("a cell is cut") }
        at = next
        switch tag {
        case Tag.null: return .null
        case Tag.false: return .integer(0)
        case Tag.true: return .integer(1)
        case Tag.int8: return .integer(Int64(try bytes.load(Int8.self, at: payload, end: end)))
        case Tag.int16: return .integer(Int64(try bytes.load(Int16.self, at: payload, end: end)))
        case Tag.int32: return .integer(Int64(try bytes.load(Int32.self, at: payload, end: end)))
        case Tag.int64: return .integer(try bytes.load(Int64.self, at: payload, end: end))
        case Tag.real: return .real(Double(bitPattern: try bytes.load(UInt64.self, at: payload, end: end)))
        case Tag.text8: return .text(payload + 1..<next)
        case Tag.text32: return .text(payload + 4..<next)
        case Tag.blob8: return .blob(payload + 1..<next)
        default: return .blob(payload + 4..<next)
        }
    }

    /// Moves `at` past the cell that starts there.
    @inline(__always)
    static func skip(_ bytes: Bytes, _ at: inout Int, end: Int) throws {
        let tag = try bytes.load(UInt8.self, at: at, end: end)
        let next = at + 1 + (try width(tag, bytes, at + 1, end))
        guard next <= end else { throw damaged("a cell is cut") }
        at = next
    }

    /// The number of bytes after a tag, including the length: below 2^33, so that adding an offset never overflows.
    @inline(__always)
    private static func width(_ tag: UInt8, _ bytes: Bytes, _ at: Int, _ end: Int) throws -> Int {
        switch tag {
        case Tag.null, Tag.false, Tag.true: return 0
        case Tag.int8: return 1
        case Tag.int16: return 2
        case Tag.int32: return 4
        case Tag.int64, Tag.real: return 8
        case Tag.text8, Tag.blob8: return 1 + Int(try bytes.load(UInt8.self, at: at, end: end))
        case Tag.text32, Tag.blob32: return 4 + Int(try bytes.load(UInt32.self, at: at, end: end))
        default: throw damaged("a cell has an unknown tag")
        }
    }

    /// The type's name for error messages.
    var kind: String {
        switch self {
        case .null: "NULL"
        case .integer: "an integer"
        case .real: "a real number"
        case .text: "text"
        case .blob: "bytes"
        }
    }
}
