// Row buffers: the shared vectors decode, and damaged bytes cause an error.

import Foundation
import Rejoin
import Testing

@Suite struct RowBufferTests {
    @Test(arguments: Vectors.all.valid + Vectors.all.readable)
    func validVectorsDecode(_ vector: Vector) throws {
        let rows = try RowBuffer(vector.bytes)
        #expect(rows.columns == vector.columns)
        #expect(rows.count == vector.count)
        let patterns = vector.patterns
        for row in rows {
            let expected = patterns[row.number % patterns.count]
            for column in expected.indices {
                guard sameBits(try row.get(column), expected[column]) else {
                    Issue.record("row \(row.number), column \(column) is not \(expected[column])")
                    return
                }
            }
        }
    }

    @Test(arguments: Vectors.all.damaged)
    func damagedVectorsAreRejected(_ vector: DamagedVector) throws {
        guard vector.found == "cell" else {
            #expect(isDamage { _ = try RowBuffer(vector.bytes) })
            return
        }
        let row = try RowBuffer(vector.bytes)[0]
        #expect(isDamage { for column in row.columns.indices { _ = try row.get(column, as: SQLValue.self) } })
    }

    @Test func truncatedBufferIsRejected() throws {
        var cut = 0
        for vector in Vectors.all.valid {
            let bytes = vector.bytes
            guard bytes.count < 4096 else { continue }
            for length in bytes.indices {
                let refused = isDamage { _ = try RowBuffer(Array(bytes[..<length])) }
                if !refused { Issue.record("\(vector) cut to \(length) was taken") }
                cut += 1
            }
        }
        #expect(cut > 1000)
    }

    @Test func bufferWithAFlippedBitIsReadOrRejected() throws {
        var (read, refused) = (0, 0)
        for vector in Vectors.all.valid {
            var bytes = vector.bytes
            guard bytes.count < 1200 else { continue }
            for bit in 0..<bytes.count * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8)
                if isDamage({ try readAll(bytes) }) { refused += 1 } else { read += 1 }
                bytes[bit / 8] ^= 1 << (bit % 8)
            }
        }
        #expect(read > 1000 && refused > 1000)
    }

    @Test func overlappingOrDescendingIndexIsReadWithinBounds() throws {
        let body: [UInt8] = [0x06, 0x03, 0x01, 0x01, 0x01, 0x00]
        let header: [UInt8] = [0x52, 0x4A, 0x42, 0x31, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0x61]
        for (first, second) in [(0, 2), (5, 0), (0, 0)] as [(UInt8, UInt8)] {
            let rows = try RowBuffer(header + body + [first, 0, 0, 0, second, 0, 0, 0])
            for row in rows { _ = try row.get(0, as: SQLValue.self) }
        }
    }

    @Test func cellsBeyondTheOffsetCacheAreReadInAnyOrder() throws {
        // A long text among the first columns, so that offsets need their full width.
        let cells: [[UInt8]] = (0..<12).map { $0 == 2 ? [7, 0, 0, 2, 0] + repeatElement(0x61, count: 131_072) : [1, $0] }
        let rows = try RowBuffer(bytes(columns: 12, rows: [cells, cells.reversed()]))
        for column in (0..<12).reversed() {
            for (row, number) in [(rows[0], column), (rows[1], 11 - column)] {
                let expected: SQLValue = number == 2 ? .text(String(repeating: "a", count: 131_072)) : .integer(Int64(number))
                #expect(try row.get(column, as: SQLValue.self) == expected)
            }
        }
    }

    @Test func cellsAfterADamagedOneAreRejected() throws {
        for damagedOne in 0..<12 {
            let cells: [[UInt8]] = (0..<12).map { $0 == damagedOne ? [0xFF] : [1, UInt8($0)] }
            let row = try RowBuffer(bytes(columns: 12, rows: [cells]))[0]
            for column in (0..<12).reversed() {
                if column < damagedOne {
                    #expect(try row.get(column, as: Int.self) == column)
                } else {
                    #expect(isDamage { _ = try row.get(column, as: Int.self) })
                }
            }
        }
    }

    @Test func duplicateColumnNameReadsTheFirstColumn() throws {
        let vector = Vectors.all.valid.first { $0.name == "two columns of one name" }!
        let rows = try RowBuffer(vector.bytes)
        #expect(try rows[0].get("id", as: Int.self) == 1)
        #expect(try rows[0].get(1, as: String.self) == "second")
    }

    @Test func resultsAreEqualIfTheirBytesAre() throws {
        let bytes = Vectors.all.valid.prefix(5).map(\.bytes)
        #expect(try RowBuffer(bytes[3]) == RowBuffer(bytes[3]))
        #expect(try RowBuffer(bytes[3]) != RowBuffer(bytes[4]))
    }

    private func readAll(_ bytes: [UInt8]) throws {
        let rows = try RowBuffer(bytes)
        // A flipped bit may turn a few rows without columns into billions.
        for row in rows.prefix(100) {
            for column in rows.columns.indices { _ = try row.get(column, as: SQLValue.self) }
        }
    }
}

/// A row buffer of these cells; its columns have no names.
private func bytes(columns: Int, rows: [[[UInt8]]]) -> [UInt8] {
    func number(_ value: Int) -> [UInt8] { withUnsafeBytes(of: UInt32(value).littleEndian) { [UInt8]($0) } }
    let joined = rows.map { Array($0.joined()) }
    let starts = joined.indices.map { number(joined[..<$0].map(\.count).reduce(0, +)) }
    let names = [UInt8](repeating: 0, count: 4 * columns)
    let body = Array(joined.joined())
    let header = [columns, rows.count, names.count, body.count].flatMap(number)
    return [0x52, 0x4A, 0x42, 0x31] + header + names + body + Array(starts.joined())
}

/// Whether it throws the error for damage or for invalid UTF-8; any other error fails the test.
private func isDamage(_ body: () throws -> Void) -> Bool {
    do {
        try body()
        return false
    } catch RejoinError.internal(let error) {
        return error.reason.hasPrefix("row buffer is damaged: ")
    } catch RejoinError.invalidInput(let error) {
        return error.reason.hasSuffix("it is not UTF-8; cast it to BLOB in the query")
    } catch {
        Issue.record("another error: \(error)")
        return false
    }
}

/// Equal to the last bit: 0.0 is not -0.0.
private func sameBits(_ one: SQLValue, _ other: SQLValue) -> Bool {
    if case .real(let one) = one, case .real(let other) = other { return one.bitPattern == other.bitPattern }
    return one == other
}
