// The values of a parked mutation: its rows, its groups and its fields; pure functions.

import Foundation
import Testing

@testable import Rejoin
@testable import RejoinUI

@Suite struct ParkedWriteTests {
    @Test func rowBelowAQueuedEditComesFromTheDetail() throws {
        let row = PendingRow(
            table: "t", key: .text("a"), operation: .update,
            columns: [PendingColumn(name: "n", old: .integer(0), new: .integer(1))])
        let conflict = ConflictedRow(
            table: "t", key: .text("a"), columns: ["n"], mine: ["n": .integer(1)], theirs: ["n": .integer(5)], before: nil)
        let detail = VerdictDetail(
            code: nil, message: "changed since", table: nil, key: nil, column: nil, rows: [conflict], correction: nil)
        let mutation = PendingMutation(
            seq: 1, id: "m", state: .parked, reason: .conflicted, detail: detail, becauseOf: nil, blockedBy: nil, action: nil,
            written: .distantPast, attempt: 1, rows: [row])
        let tables = ["t": TableInfo(key: "id", types: ["n": "INTEGER"])]
        let current: [RowName: [String: SQLValue]] = [RowName(row): ["n": .integer(7)]]
        for (queued, theirs) in [([], 7), ([RowName(row)], 5)] as [(Set<RowName>, Int64)] {
            let write = ParkedWrite(mutation, dependents: [], tables, current, queued: queued)
            let column = try #require(write.rows[0].columns.first)
            #expect(column.theirs == .integer(theirs) && column.isConflict && write.message == "changed since")
        }
    }

    @Test func dependentsAreWithTheMutationThatCausedThem() {
        func mutation(_ id: String, _ reason: ParkReason?, _ because: String? = nil, _ state: MutationState = .parked)
            -> PendingMutation
        {
            PendingMutation(
                seq: 0, id: id, state: state, reason: reason, detail: nil, becauseOf: because, blockedBy: nil, action: nil,
                written: .distantPast, attempt: 1, rows: [])
        }
        func shape(_ pending: [PendingMutation]) -> [String] {
            ParkedWrite.groups(pending).map { group in "\(group.root.id):\(group.dependents.map(\.id).joined())" }
        }
        #expect(shape([]) == [])
        #expect(
            shape([
                mutation("a", .rejected), mutation("w", nil, nil, .pending), mutation("b", .depends, "a"),
                mutation("c", .depends, "b"),
                mutation("d", .conflicted),
            ]) == ["a:bc", "d:"])
        #expect(shape([mutation("b", .depends, "a")]) == ["b:"], "the cause is no longer parked")
        #expect(shape([mutation("a", .depends, "b"), mutation("b", .depends, "a")]).count == 2, "a cycle hides nothing")
        #expect(shape([mutation("a", .rejected), mutation("b", .conflicted, "a")]) == ["a:", "b:"], "decided by itself")
    }

    @Test func kindFollowsTheColumnAndItsValue() {
        let expected: [(String?, SQLValue, FieldKind)] = [
            ("INTEGER", .integer(7), .integer), ("BOOLEAN", .integer(1), .boolean), ("BOOLEAN", .integer(2), .integer),
            ("BOOLEAN", .null, .boolean), ("bigint", .null, .integer), ("REAL", .null, .real),
            ("DOUBLE PRECISION", .integer(1), .real),
            ("REAL", .integer(1), .real), ("TEXT", .null, .text), ("INTEGER", .text("x"), .text),
            ("TEXT", .integer(3), .integer),
            (nil, .real(1), .real), (nil, .null, .text), ("BLOB", .null, .blob), ("TEXT", .blob([1]), .blob),
            ("BLOB", .text("x"), .blob),
        ]
        for (declared, value, kind) in expected {
            #expect(FieldKind(declared: declared, value) == kind, "\(declared ?? "nil") \(value)")
        }
    }

    @Test func textOfAFieldBecomesAValueOfItsKind() {
        let expected: [(FieldKind, String, SQLValue?)] = [
            (.integer, " 7 ", .integer(7)), (.integer, "", .null), (.integer, "7.5", nil),
            (.integer, "9223372036854775808", nil),
            (.real, "1,5", .real(1.5)), (.real, "-2", .real(-2)), (.real, "inf", nil), (.real, "nan", nil), (.real, "", .null),
            (.boolean, "1", .integer(1)), (.boolean, "2", nil), (.text, "", .text("")), (.text, " a ", .text(" a ")),
            (.blob, "x", nil),
        ]
        for (kind, text, value) in expected { #expect(kind.parse(text) == value, "\(kind) '\(text)'") }
    }

    @Test func editWritesTheChangedFieldsOnly() {
        let row = PendingRow(
            table: "a\"b", key: .integer(7), operation: .update,
            columns: [
                PendingColumn(name: "title", old: .text("o"), new: .text("m")),
                PendingColumn(name: "rank", old: .integer(1), new: .integer(2)),
                PendingColumn(name: "data", old: .null, new: .blob([1])),
                PendingColumn(name: "note", old: .text("n"), new: .null),
            ])
        let mutation = PendingMutation(
            seq: 1, id: "m", state: .parked, reason: .rejected, detail: nil, becauseOf: nil, blockedBy: nil, action: nil,
            written: .distantPast,
            attempt: 1, rows: [row])
        let info = TableInfo(key: "id", types: ["title": "TEXT", "rank": "INTEGER", "data": "BLOB", "note": "TEXT"])
        let current: [RowName: [String: SQLValue]] = [RowName(row): ["title": .text("t"), "rank": .real(2)]]
        let write = ParkedWrite(mutation, dependents: [], ["a\"b": info], current, queued: [])
        #expect(
            write.rows[0].columns.map(\.differs) == [true, false, true, false], "an integer equals a real of the same number")
        var fields = write.fields
        #expect(
            fields == [
                .init(row: 0, column: "title"): "m", .init(row: 0, column: "rank"): "2", .init(row: 0, column: "note"): "",
            ])
        #expect(write.statements(fields).isEmpty)
        fields[.init(row: 0, column: "title")] = "edited"
        fields[.init(row: 0, column: "rank")] = ""
        fields[.init(row: 0, column: "data")] = "ignored"
        let statements = write.statements(fields)
        #expect(statements.map(\.sql) == [#"UPDATE "a""b" SET "title" = ?, "rank" = ? WHERE "id" = ?"#])
        #expect(statements[0].params.map { $0?.sqlValue } == [.text("edited"), .null, .integer(7)])
    }

    @Test func updateOfADeletedRowIsNotEditable() {
        let row = PendingRow(
            table: "t", key: .text("a"), operation: .update, columns: [PendingColumn(name: "n", old: .null, new: .integer(1))])
        let mutation = PendingMutation(
            seq: 1, id: "m", state: .parked, reason: .conflicted, detail: nil, becauseOf: nil, blockedBy: nil, action: nil,
            written: .distantPast, attempt: 1, rows: Array(repeating: row, count: 25))
        let write = ParkedWrite(mutation, dependents: [], ["t": TableInfo(key: "id")], [:], queued: [])
        #expect(!write.isEditable && !write.rows[0].exists && write.rows[0].columns[0].theirs == nil)
        #expect(write.rows.count == 20 && write.moreRows == 5)
    }
}
