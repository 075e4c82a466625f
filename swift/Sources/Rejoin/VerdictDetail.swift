// Why a mutation was not accepted, with both versions of each row in conflict.

/// What the server, or this device, reports on a mutation that was parked or corrected.
public struct VerdictDetail: Sendable, Hashable {
    /// The reason's code, for example `constraint.check`.
    public let code: String?
    /// The reason as text; one line for each rejection of a partly accepted mutation.
    public let message: String?
    /// The table that the reason names.
    public let table: String?
    /// The key of the row that the reason names.
    public let key: SQLValue?
    /// The column that the reason names.
    public let column: String?
    /// The rows in conflict.
    public let rows: [ConflictedRow]
    /// For an action of the log whose effect has changed: both effects, if they fit into 64 KiB.
    public let correction: Correction?
}

/// A row in which a mutation conflicts, as both sides had it at the verdict.
public struct ConflictedRow: Sendable, Hashable {
    /// The table's name.
    public let table: String
    /// The row's key.
    public let key: SQLValue
    /// The columns in conflict; empty if the row was deleted or created.
    public let columns: [String]
    /// The row as this device showed it after the mutation; `nil` if the mutation deletes it.
    public let mine: [String: SQLValue]?
    /// The server's row; `nil` if it has none.
    public let theirs: [String: SQLValue]?
    /// In a table with the policy `manual`: the previous values of the changed columns; `nil` for a create.
    public let before: [String: SQLValue]?
}

/// The two effects of an action of the log that was run again.
public struct Correction: Sendable, Hashable {
    /// What it did before.
    public let before: [EffectRow]
    /// What it does now; empty if it is now rejected.
    public let after: [EffectRow]
}

/// What an action does to a row.
public struct EffectRow: Sendable, Hashable {
    /// The table's name.
    public let table: String
    /// The row's key.
    public let key: SQLValue
    /// The kind of change.
    public let operation: PatchKind
    /// All columns for an insert, the changed ones for an update, none for a delete.
    public let columns: [String: SQLValue]
}
