// The status and the queue at the FFI boundary. There is no `default`: a new case does not compile until it is handled
// here.

internal import RejoinFFI
import Foundation

extension DoctorReport {
    init(_ report: RejoinFFI.DoctorReport) {
        self.init(
            tables: report.tables.map {
                TableCheck(
                    table: $0.table, rows: Int($0.rows), differing: Int($0.differing), repaired: Int($0.repaired))
            })
    }
}

extension SyncReport {
    init(_ report: RejoinFFI.SyncReport) {
        self.init(
            accepted: Int(report.accepted), parked: Int(report.parked), pulled: Int(report.pulled),
            stillPending: Int(report.stillPending))
    }
}

extension SyncStatus {
    init(_ status: RejoinFFI.SyncStatus) {
        let leftOut = status.leftOut.map { LeftOutPart(table: $0.table, part: $0.part, reason: $0.reason) }
        self.init(state: SyncState(status.state), firstSync: FirstSync(status.firstSync), leftOut: leftOut)
    }
}

extension FirstSync {
    init(_ first: RejoinFFI.FirstSync) {
        self =
            switch first {
            case .absent: .absent
            case .partial: .partial
            case .done: .done
            }
    }
}

extension SyncState {
    init(_ state: RejoinFFI.SyncState) {
        self =
            switch state {
            case .idle: .idle
            case .connecting: .connecting
            case .pushing: .pushing
            case .applying(let done, let total, let pace):
                .applying(done: Int(done), total: total.map(Int.init), rowsPerSecond: Int(pace))
            case .waitingUntil(let atMs, let reason): .waiting(at: Date(millis: atMs), reason: reason)
            case .offline(let retryAtMs, let reason): .offline(retryAt: retryAtMs.map(Date.init(millis:)), reason: reason)
            case .metered: .metered
            case .needsAuth: .needsAuth
            case .upgradeRequired(let reason): .upgradeRequired(reason: reason)
            case .failed(let reason, let retryAtMs): .failed(reason: reason, retryAt: Date(millis: retryAtMs))
            case .upToDate(let sinceMs): .upToDate(since: Date(millis: sinceMs))
            case .suspended: .suspended
            case .stopped: .stopped
            }
    }
}

extension MutationState {
    init(_ state: RejoinFFI.MutationState) {
        self =
            switch state {
            case .pending: .pending
            case .sent: .sent
            case .uncertain: .uncertain
            case .parked: .parked
            }
    }
}

extension ParkReason {
    init(_ reason: RejoinFFI.ParkReason) {
        self =
            switch reason {
            case .rejected: .rejected
            case .conflicted: .conflicted
            case .refused: .refused
            case .unreplayable: .unreplayable
            case .depends: .depends
            case .partlyAccepted: .partlyAccepted
            case .serverFault: .serverFault
            }
    }
}

extension PatchKind {
    init(_ kind: RejoinFFI.PatchKind) {
        self =
            switch kind {
            case .insert: .insert
            case .update: .update
            case .delete: .delete
            }
    }
}

extension PendingMutation {
    init(_ mutation: RejoinFFI.PendingMutation) {
        self.init(
            seq: mutation.seq, id: mutation.id, state: MutationState(mutation.state),
            reason: mutation.reason.map(ParkReason.init), detail: mutation.detail.map(VerdictDetail.init), becauseOf: mutation.becauseOf,
            blockedBy: mutation.blockedBy, action: mutation.action, written: Date(millis: mutation.writtenMs), attempt: Int(mutation.attempt),
            rows: mutation.rows.map(PendingRow.init))
    }
}

extension PendingRow {
    init(_ row: RejoinFFI.PendingRow) {
        self.init(
            table: row.table, key: SQLValue(row.key), operation: PatchKind(row.operation),
            columns: row.columns.map {
                PendingColumn(name: $0.name, old: SQLValue($0.oldValue), new: SQLValue($0.newValue))
            })
    }
}

extension PendingCounts {
    init(_ counts: RejoinFFI.PendingCounts) {
        self.init(
            pending: Int(counts.pending), sent: Int(counts.sent), uncertain: Int(counts.uncertain),
            parked: Int(counts.parked))
    }
}

extension RowSyncState {
    init(_ state: RejoinFFI.RowSyncState) {
        self =
            switch state {
            case .synced: .synced
            case .pending: .pending
            case .sent: .sent
            case .uncertain: .uncertain
            case .parked: .parked
            }
    }
}

extension Verdict {
    init(_ verdict: RejoinFFI.Verdict) {
        self =
            switch verdict {
            case .accepted: .accepted
            case .parked(let reason, let detail):
                .parked(reason: reason.map(ParkReason.init), detail: detail.map(VerdictDetail.init))
            case .unknown: .unknown
            }
    }
}
