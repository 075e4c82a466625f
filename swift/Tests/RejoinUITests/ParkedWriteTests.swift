// The values of a parked mutation: its detail, its groups and its fields; pure functions.

import Foundation
import Testing

@testable import Rejoin
@testable import RejoinUI

@Suite struct ParkedWriteTests {
    @Test func detailHasTheMessageAndBothRows() throws {
        let detail = ParkDetail(
            """
            {"code": "row.conflict", "message": "changed since", "rows": [
             {"table": "task", "id": "a", "columns": ["title"], "mine": {"title": "m"},
              "theirs": {"title": "t", "done": true, "rank": 9007199254740993, "size": 0.5, "note": null, "data": "AAE="}}]}
            """)
        #expect(
            detail.message == "changed since" && detail.row("task", .text("b")) == nil && detail.row("tag", .text("a")) == nil)
        let row = try #require(detail.row("task", .text("a")))
        let theirs = try #require(row.theirs)
        #expect(row.columns == ["title"])
        #expect(theirs["title"]?.value(isBlob: false) == .text("t") && theirs["done"]?.value(isBlob: false) == .integer(1))
        #expect(theirs["rank"]?.value(isBlob: false) == .integer(9_007_199_254_740_993))
        #expect(theirs["size"]?.value(isBlob: false) == .real(0.5) && theirs["note"]?.value(isBlob: false) == .null)
        #expect(theirs["data"]?.value(isBlob: true) == .blob([0, 1]) && theirs["data"]?.value(isBlob: false) == .text("AAE="))
    }

    @Test func detailOfAPartlyAcceptedMutationHasEachMessageOnce() {
        let json =
            #"{"message": "in part", "refused": [{"message": "too long"}, {"message": "too long"}, {"message": "late"}, {}]}"#
        #expect(ParkDetail(json).message == "too long\nlate")
    }

    @Test func detailOfAnotherFormIsEmpty() {
        for json in [nil, "", "no JSON", "[]", #"{"message": ""}"#, #"{"rows": 7}"#] {
            let detail = ParkDetail(json)
            #expect(detail.message == nil && detail.rows.isEmpty, "\(json ?? "nil")")
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
