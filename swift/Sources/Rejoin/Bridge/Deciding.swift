// Verdicts, history and reset at the FFI boundary. There is no `default`: a new case does not compile until it is
// handled here.

internal import RejoinFFI
import Foundation

extension Verdicts {
    init(_ verdicts: RejoinFFI.Verdicts) {
        self.init(entries: verdicts.entries.map(VerdictEntry.init), missed: Int(verdicts.missed))
    }
}

extension VerdictEntry {
    init(_ entry: RejoinFFI.VerdictEntry) {
        self.init(
            number: entry.number, id: entry.id, attempt: Int(entry.attempt), kind: VerdictKind(entry.kind),
            reason: entry.reason.map(ParkReason.init), becauseOf: entry.becauseOf, action: entry.action, detail: entry.detail.map(VerdictDetail.init),
            at: Date(millis: entry.atMs))
    }
}

extension VerdictKind {
    init(_ kind: RejoinFFI.VerdictKind) {
        self =
            switch kind {
            case .accepted: .accepted
            case .parked: .parked
            case .withdrawn: .withdrawn
            case .corrected: .corrected
            }
    }
}

extension VerdictDetail {
    init(_ detail: RejoinFFI.VerdictDetail) {
        self.init(
            code: detail.code, message: detail.message, table: detail.table, key: detail.key.map { SQLValue($0) },
            column: detail.column, rows: detail.rows.map(ConflictedRow.init), correction: detail.correction.map(Correction.init))
    }
}

extension ConflictedRow {
    init(_ row: RejoinFFI.ConflictedRow) {
        self.init(
            table: row.table, key: SQLValue(row.key), columns: row.columns, mine: row.mine.map(values),
            theirs: row.theirs.map(values), before: row.before.map(values))
    }
}

extension Correction {
    init(_ correction: RejoinFFI.Correction) {
        self.init(before: correction.before.map(EffectRow.init), after: correction.after.map(EffectRow.init))
    }
}

extension EffectRow {
    init(_ row: RejoinFFI.EffectRow) {
        self.init(
            table: row.table, key: SQLValue(row.key), operation: PatchKind(row.operation), columns: values(row.columns))
    }
}

private func values(_ columns: [String: RejoinFFI.SqlValue]) -> [String: SQLValue] {
    columns.mapValues { SQLValue($0) }
}

extension AcceptedMutation {
    init(_ mutation: RejoinFFI.AcceptedMutation) {
        self.init(
            seq: mutation.seq, id: mutation.id, action: mutation.action, written: Date(millis: mutation.writtenMs),
            accepted: Date(millis: mutation.acceptedMs), attempt: Int(mutation.attempt), undoes: mutation.undoes,
            rows: mutation.rows.map(PendingRow.init))
    }
}

extension Undone {
    init(_ undone: RejoinFFI.Undone) {
        self =
            switch undone {
            case .givenUp: .givenUp
            case .newMutation(let id): .newMutation(id)
            case .nothing: .nothing
            }
    }
}

extension HistoryBounds {
    func ffi() throws -> RejoinFFI.HistoryBounds {
        let seconds = try age.map { age in
            // The whole seconds alone do not suffice: minus half a second has none.
            guard age >= .zero else { throw RejoinError.invalidInput("age: \(age) is below zero") }
            let (whole, part) = age.components
            return Int(clamping: whole) + (part > 0 && whole < Int64.max ? 1 : 0)
        }
        return .init(
            count: try count.map { try number($0, "count") }, bytes: try bytes.map { try number($0, "bytes") },
            ageSeconds: try seconds.map { try number($0, "age") })
    }
}

extension Keep {
    var ffi: RejoinFFI.Keep {
        switch self {
        case .pending: .pending
        case .local: .local
        case .nothing: .nothing
        }
    }
}

extension ResetReport {
    init(_ report: RejoinFFI.ResetReport) {
        self.init(
            givenUp: report.givenUp.map(PendingMutation.init), rows: Int(report.rows), localRows: Int(report.localRows))
    }
}
