// Reads the parked mutations with the current rows, and groups those that are decided together.

import Rejoin

/// A table on this device.
struct TableInfo: Sendable {
    /// The name of its key column.
    var key: String?
    /// The declared types by column.
    var types: [String: String] = [:]
}

/// A row by table and key.
struct RowName: Hashable {
    let table: String
    let key: SQLValue

    init(_ row: PendingRow) {
        table = row.table
        key = row.key
    }
}

extension ParkedWrite {
    /// Reads the parked mutations of a client, in the order of the queue.
    static func read(_ client: RejoinClient) async throws -> [ParkedWrite] {
        let pending = try await client.queue.all()
        let groups = groups(pending)
        let shown = groups.flatMap { $0.root.rows.prefix(shownRows) }
        let tables = try await tables(Set(shown.map(\.table)).sorted(), client)
        let current = try await current(shown, tables, client)
        let queued = Set(pending.filter { $0.state != .parked }.flatMap { $0.rows.map(RowName.init) })
        return groups.map { ParkedWrite($0.root, dependents: $0.dependents, tables, current, queued: queued) }
    }

    /// The parked mutations to decide, each with those that were parked because of it.
    static func groups(_ pending: [PendingMutation]) -> [(root: PendingMutation, dependents: [PendingMutation])] {
        let parked = pending.filter { $0.state == .parked }
        let byID = Dictionary(parked.map { ($0.id, $0) }) { first, _ in first }
        func root(_ mutation: PendingMutation) -> PendingMutation.ID {
            var (root, passed) = (mutation, Set([mutation.id]))
            while root.reason == .depends, let id = root.becauseOf, let cause = byID[id], passed.insert(id).inserted {
                root = cause
            }
            return root.id
        }
        let members = Dictionary(grouping: parked, by: root)
        return parked.filter { members[$0.id] != nil }.map { root in
            (root, members[root.id, default: []].filter { $0.id != root.id })
        }
    }

    private static func tables(_ names: [String], _ client: RejoinClient) async throws -> [String: TableInfo] {
        let infos = try await client.queryMany(names.map { "SELECT name, type, pk FROM pragma_table_info(\($0))" })
        var tables: [String: TableInfo] = [:]
        for (name, columns) in zip(names, infos) {
            var info = TableInfo()
            for column in columns {
                let name = try column.get("name", as: String.self)
                info.types[name] = try column.get("type", as: String.self)
                if try column.get("pk", as: Int.self) > 0 { info.key = name }
            }
            tables[name] = info
        }
        return tables
    }

    /// The rows as they are without the parked mutations; those that do not exist are missing.
    private static func current(
        _ rows: [PendingRow], _ tables: [String: TableInfo], _ client: RejoinClient
    ) async throws -> [RowName: [String: SQLValue]] {
        let named = rows.compactMap { row in tables[row.table]?.key.map { (RowName(row), $0) } }
        let results = try await client.queryMany(
            named.map { "SELECT * FROM \(sql: quoted($0.0.table)) WHERE \(sql: quoted($0.1)) = \($0.0.key)" })
        var current: [RowName: [String: SQLValue]] = [:]
        for (name, result) in zip(named.map(\.0), results) {
            guard let row = result.first else { continue }
            var cells: [String: SQLValue] = [:]
            for column in row.columns { cells[column] = try row.get(column) }
            current[name] = cells
        }
        return current
    }

    /// - Parameter queued: the rows that waiting mutations write.
    init(
        _ mutation: PendingMutation, dependents: [PendingMutation], _ tables: [String: TableInfo],
        _ current: [RowName: [String: SQLValue]], queued: Set<RowName>
    ) {
        self.mutation = mutation
        self.dependents = dependents
        message = mutation.detail?.message
        rows = mutation.rows.prefix(Self.shownRows).enumerated().map { number, row in
            let name = RowName(row)
            let conflict = mutation.detail?.rows.first { $0.table == row.table && $0.key == row.key }
            // The current row is what a retry compares with. Below a queued edit, only the detail has the server's row.
            let isCovered = queued.contains(name) && conflict != nil
            let info = tables[row.table] ?? TableInfo()
            return ParkedRow(number, row, info, conflict, current: isCovered ? nil : .some(current[name]))
        }
        moreRows = mutation.rows.count - rows.count
    }
}

extension ParkedRow {
    /// - Parameter current: the current row, if there is one; `nil` to take the server's row from the conflict.
    init(_ number: Int, _ row: PendingRow, _ info: TableInfo, _ conflict: ConflictedRow?, current: [String: SQLValue]??) {
        id = number
        table = row.table
        key = row.key
        keyColumn = info.key
        operation = row.operation
        let exists = if let current { current != nil } else { conflict?.theirs != nil }
        self.exists = exists
        // An update of a row that is gone changes nothing.
        let writes = info.key != nil && (row.operation == .insert || (row.operation == .update && exists))
        columns = row.columns.filter { $0.name != info.key }.compactMap { column in
            let kind = FieldKind(declared: info.types[column.name], column.new == .null ? column.old : column.new)
            let theirs = if let current { current?[column.name] } else { conflict?.theirs?[column.name] }
            let shown = ParkedColumn(
                name: column.name, mine: row.operation == .delete ? nil : column.new, theirs: exists ? theirs ?? .null : nil,
                isConflict: conflict?.columns.contains(column.name) ?? false, kind: kind, isEditable: writes && kind != .blob)
            return shown.isShown(row.operation, old: column.old) ? shown : nil
        }
    }
}

extension ParkedColumn {
    fileprivate func isShown(_ operation: PatchKind, old: SQLValue) -> Bool {
        switch operation {
        case .update: true
        case .insert: mine != .null || (theirs ?? .null) != .null
        case .delete: theirs.map { !$0.isSame(as: old) } ?? false
        }
    }
}

extension SQLValue {
    /// Whether two values are equal; an integer equals a real of the same number.
    func isSame(as other: SQLValue) -> Bool {
        switch (self, other) {
        case (.integer(let one), .real(let other)), (.real(let other), .integer(let one)): Double(one) == other
        default: self == other
        }
    }
}
