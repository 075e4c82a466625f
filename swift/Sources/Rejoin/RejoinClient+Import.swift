// Moving over from the Synchro SDK: what a device has not sent comes along.

import Foundation
internal import RejoinFFI

/// What became of a Synchro database that was taken over.
public struct SynchroImport: Sendable, Hashable {
    /// The tables that both sides know, by name.
    public let tables: [ImportedTable]
    /// What was not taken and stays in the old file, with the reason.
    public let leftOut: [LeftOut]
    /// Unsent edits that an earlier call had taken already.
    public let takenBefore: Int
    /// Mutations that wait for the first sync before they can be sent; zero if everything has been here.
    public let awaiting: Int
}

/// What was taken of a table.
public struct ImportedTable: Sendable, Hashable {
    /// Its name.
    public let name: String
    /// Rows that are seen as the old file had them, until the first sync brings the server's.
    public let rows: Int
    /// Rows that the server had not been told of.
    public let creates: Int
    /// Edits that the server had not been told of, one per row.
    public let updates: Int
    /// Deletes that the server had not been told of.
    public let deletes: Int
    /// Columns of the old table that the schema lacks; their values were not taken.
    public let columnsLeftOut: [String]
}

/// What was not taken of an old file.
public struct LeftOut: Sendable, Hashable {
    /// The table, by its old name.
    public let table: String
    /// The row; nothing where the whole table was left out.
    public let recordID: String?
    /// How many unsent edits this is about.
    public let unsent: Int
    /// Why.
    public let why: String
}

extension RejoinClient {
    /// Takes over an app's old Synchro database: what it had not sent is in the queue when this is done, and its rows are seen until
    /// the first sync brings the server's.
    ///
    /// ```swift
    /// if FileManager.default.fileExists(atPath: old.path) {
    ///     let report = try await client.importSynchro(old)
    ///     for left in report.leftOut { log(left.table, left.why) }
    /// }
    /// ```
    ///
    /// The old file is copied and stays as it is; nobody may have it open meanwhile. All is taken in one transaction, or nothing; made
    /// again, the call takes what is new, and nothing twice. Works offline with a bundled schema.
    ///
    /// - Parameter old: the old file; its write-ahead log is looked for beside it.
    /// - Throws: ``RejoinError/invalidInput(reason:)`` for a file that is no Synchro database, and while no schema is known;
    ///   ``RejoinError/storage(reason:)`` for a damaged one. Nothing was taken then.
    public func importSynchro(_ old: URL) async throws -> SynchroImport {
        try outsideOfTransaction()
        return SynchroImport(try await translated { try await ffi.importSynchro(path: old.path) })
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
        why = left.why
    }
}
