// Values at the FFI boundary.

internal import RejoinFFI
import Foundation

extension SQLValue {
    var ffi: SqlValue {
        switch self {
        case .null: .null
        case .integer(let value): .integer(value: value)
        case .real(let value): .real(value: value)
        case .text(let value): .text(value: value)
        case .blob(let value): .blob(value: value)
        }
    }

    init(_ value: SqlValue) {
        self =
            switch value {
            case .null: .null
            case .integer(let value): .integer(value)
            case .real(let value): .real(value)
            case .text(let value): .text(value)
            case .blob(let value): .blob(value)
            }
    }
}

extension SQLParameters {
    var ffi: [SqlValue] { map { $0?.sqlValue.ffi ?? .null } }
}

extension Statement {
    var ffi: RejoinFFI.Statement { .init(sql: sql, params: params.ffi) }
}

extension Date {
    init(micros: Int64) { self.init(timeIntervalSince1970: Double(micros) / 1e6) }
    init(millis: Int64) { self.init(timeIntervalSince1970: Double(millis) / 1e3) }
}

extension RowDifference {
    init(_ difference: RejoinFFI.RowDifference) {
        self.init(
            added: difference.added.map(Int.init), changed: difference.changed.map(Int.init),
            removed: difference.removed.map(Int.init))
    }
}

extension Change {
    init(_ change: RejoinFFI.Change) {
        let tables = change.tables.map { ($0.name, $0.keys.map { $0.map(SQLValue.init) }) }
        self.init(
            origin: change.origin == .local ? .local : .remote, tables: Dictionary(tables) { _, last in last },
            queue: change.queue)
    }
}

extension LogLevel {
    var ffi: RejoinFFI.LogLevel {
        switch self {
        case .error: .error
        case .warn: .warn
        case .info: .info
        case .debug: .debug
        case .trace: .trace
        }
    }

    init(_ level: RejoinFFI.LogLevel) {
        self =
            switch level {
            case .error: .error
            case .warn: .warn
            case .info: .info
            case .debug: .debug
            case .trace: .trace
            }
    }
}

extension LogRecord {
    init(_ record: RejoinFFI.LogRecord) {
        self.init(
            level: LogLevel(record.level), at: Date(millis: record.atMs), target: record.target, text: record.text,
            fields: record.fields.map { ($0.name, $0.value) })
    }
}

extension MeteredPolicy {
    var ffi: RejoinFFI.MeteredPolicy {
        switch self {
        case .allow: .allow
        case .pushOnly: .pushOnly
        case .never: .never
        }
    }
}

extension Durability {
    var ffi: RejoinFFI.Durability {
        switch self {
        case .normal: .normal
        case .full: .full
        }
    }
}

extension ConflictPolicy {
    var ffi: RejoinFFI.ConflictPolicy {
        switch self {
        case .acceptServer: .acceptServer
        case .rebase: .rebase
        case .keepLocal: .keepLocal
        case .manual: .manual
        case .lastWriteWins: .lastWriteWins
        }
    }
}

extension CheckpointMode {
    var ffi: RejoinFFI.CheckpointMode {
        switch self {
        case .passive: .passive
        case .full: .full
        case .restart: .restart
        case .truncate: .truncate
        }
    }
}

extension Checkpointed {
    init(_ checkpointed: RejoinFFI.Checkpointed) {
        self.init(busy: checkpointed.busy, pages: checkpointed.pages, moved: checkpointed.moved)
    }
}
