// A parked mutation as a screen shows it: both values of each column, and the mutations that share its decision.

import Rejoin

/// A parked mutation, with the mutations that were parked because of it.
public struct ParkedWrite: Sendable, Hashable, Identifiable {
    /// The mutation; a decision names its id.
    public let mutation: PendingMutation
    /// The server's message.
    public let message: String?
    /// Its rows, at most ``shownRows``, in the order of first change.
    public let rows: [ParkedRow]
    /// Number of its rows that are not in ``rows``.
    public let moreRows: Int
    /// The mutations that were parked because of this one; they are decided with it.
    public let dependents: [PendingMutation]

    /// Number of rows that are read for a mutation.
    public static let shownRows = 20

    public var id: PendingMutation.ID { mutation.id }
    /// Why it is parked.
    public var reason: ParkReason? { mutation.reason }
    /// Whether two versions compete; otherwise the mutation itself was not accepted.
    public var isConflict: Bool { reason == .conflicted }
    /// Whether a column can be edited; an action is corrected by its arguments, with `queue.performAgain`.
    public var isEditable: Bool { mutation.action == nil && rows.contains { $0.columns.contains(where: \.isEditable) } }
}

/// A row of a parked mutation.
public struct ParkedRow: Sendable, Hashable, Identifiable {
    /// Its index in the mutation, from 0.
    public let id: Int
    /// The table's name.
    public let table: String
    /// The row's key.
    public let key: SQLValue
    /// The name of the key column; `nil` if the table is gone.
    public let keyColumn: String?
    /// What the mutation does to the row.
    public let operation: PatchKind
    /// Whether the row exists without the mutation.
    public let exists: Bool
    /// The columns that the mutation writes, without the key and without those that are NULL on both sides. For a delete:
    /// the columns that have changed since.
    public let columns: [ParkedColumn]
}

/// A column of a parked mutation, with both values.
public struct ParkedColumn: Sendable, Hashable, Identifiable {
    /// The column's name.
    public let name: String
    /// The value that the mutation writes; `nil` if it deletes the row.
    public let mine: SQLValue?
    /// The value of the row without the mutation; `nil` if there is no such row.
    public let theirs: SQLValue?
    /// Whether the server reported a conflict in this column.
    public let isConflict: Bool
    /// The kind of the column.
    public let kind: FieldKind
    /// Whether the user can replace ``mine``.
    public let isEditable: Bool

    public var id: String { name }
    /// Whether the two values differ.
    public var differs: Bool {
        guard let mine, let theirs else { return true }
        return !mine.isSame(as: theirs)
    }
}

/// A column of a row of a ``ParkedWrite``, as the key of an edited text.
public struct ParkedField: Sendable, Hashable {
    /// The row's ``ParkedRow/id``.
    public let row: ParkedRow.ID
    /// The column's name.
    public let column: String

    /// - Parameter row: the row's ``ParkedRow/id``.
    /// - Parameter column: the column's name.
    public init(row: ParkedRow.ID, column: String) {
        self.row = row
        self.column = column
    }
}

extension ParkedWrite {
    /// The texts that an edit begins with.
    public var fields: [ParkedField: String] {
        var fields: [ParkedField: String] = [:]
        for (field, column) in editableColumns { fields[field] = column.mine?.fieldText }
        return fields
    }

    /// The fields whose text is no value of their column, with the kind that it needs.
    public func invalidFields(_ texts: [ParkedField: String]) -> [ParkedField: FieldKind] {
        var invalid: [ParkedField: FieldKind] = [:]
        for (field, column) in editableColumns {
            if let text = texts[field], column.kind.parse(text) == nil { invalid[field] = column.kind }
        }
        return invalid
    }

    /// The statements that write the edited texts on top of the mutation's own values: one for each row with another value.
    /// Unchanged and invalid texts write nothing.
    public func statements(_ texts: [ParkedField: String]) -> [Statement] {
        rows.compactMap { row in
            guard let keyColumn = row.keyColumn else { return nil }
            var (sets, params): ([String], SQLParameters) = ([], [])
            for column in row.columns where column.isEditable {
                guard let text = texts[ParkedField(row: row.id, column: column.name)], text != column.mine?.fieldText,
                    let value = column.kind.parse(text)
                else { continue }
                sets.append("\(quoted(column.name)) = ?")
                params.append(value)
            }
            guard !sets.isEmpty else { return nil }
            let list = sets.joined(separator: ", ")
            return Statement("UPDATE \(quoted(row.table)) SET \(list) WHERE \(quoted(keyColumn)) = ?", params + [row.key])
        }
    }

    private var editableColumns: [(ParkedField, ParkedColumn)] {
        rows.flatMap { row in
            row.columns.filter(\.isEditable).map { (ParkedField(row: row.id, column: $0.name), $0) }
        }
    }
}

/// A name as an SQL identifier.
func quoted(_ name: String) -> String { "\"\(name.replacing("\"", with: "\"\""))\"" }
