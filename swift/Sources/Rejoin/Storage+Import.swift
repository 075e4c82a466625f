// Migration from the Synchro SDK, including unsent changes.

import Foundation
internal import RejoinFFI

/// The result of importing a Synchro database.
public struct SynchroImport: Sendable, Hashable {
    /// The imported tables, by name.
    public let tables: [ImportedTable]
    /// What was not imported and stays in the old file, with the reason.
    public let leftOut: [LeftOut]
    /// Number of unsent edits that an earlier call already imported.
    public let takenBefore: Int
    /// Number of mutations that can be sent only after the first sync; zero if the first sync is done.
    public let awaiting: Int
}

/// The result of importing one table.
public struct ImportedTable: Sendable, Hashable {
    /// The table's name.
    public let name: String
    /// Number of rows that are visible until the first sync replaces them.
    public let rows: Int
    /// Number of unsent inserts.
    public let creates: Int
    /// Number of unsent edits, one per row.
    public let updates: Int
    /// Number of unsent deletes.
    public let deletes: Int
    /// Columns of the old table that the schema lacks; their values were not imported.
    public let columnsLeftOut: [String]
}

/// Data of the old file that was not imported.
public struct LeftOut: Sendable, Hashable {
    /// The table's old name.
    public let table: String
    /// The row; `nil` if the whole table was left out.
    public let recordID: String?
    /// Number of unsent edits left out.
    public let unsent: Int
    /// The reason.
    public let reason: String
}

extension StorageHandle {
    /// Imports an app's old Synchro database. Its unsent changes are queued, and its rows are visible until the first
    /// sync replaces them.
    ///
    /// ```swift
    /// if FileManager.default.fileExists(atPath: old.path) {
    ///     let report = try await client.storage.importSynchro(old)
    ///     for left in report.leftOut { log(left.table, left.reason) }
    /// }
    /// ```
    ///
    /// The old file is copied and not modified; no other connection may have it open. The import is one transaction. A
    /// repeated call imports only what is new. Works offline with a bundled schema.
    ///
    /// - Parameter old: the old file; its write-ahead log is expected next to it.
    /// - Throws: ``RejoinError/invalidInput(_:)`` if the file is not a Synchro database or no schema is available
    ///   yet; ``RejoinError/storage(_:)`` if it is damaged. Then nothing was imported.
    public func importSynchro(_ old: URL) async throws -> SynchroImport {
        SynchroImport(try await client.callEngine { try await $0.importSynchro(path: old.path) })
    }
}

extension SynchroImport {
    init(_ report: RejoinFFI.SynchroImport) {
        tables = report.tables.map(ImportedTable.init)
        leftOut = report.leftOut.map(LeftOut.init)
        takenBefore = Int(report.takenBefore)
        awaiting = Int(report.awaiting)
    }
}

extension ImportedTable {
    init(_ table: RejoinFFI.ImportedTable) {
        name = table.name
        rows = Int(table.rows)
        creates = Int(table.creates)
        updates = Int(table.updates)
        deletes = Int(table.deletes)
        columnsLeftOut = table.columnsLeftOut
    }
}

extension LeftOut {
    init(_ left: RejoinFFI.LeftOut) {
        table = left.table
        recordID = left.recordId
        unsent = Int(left.unsent)
        reason = left.reason
    }
}
