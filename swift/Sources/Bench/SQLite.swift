// The baseline: SQLite's C API called from Swift, with the engine's pragmas and cached prepared statements.

import CSQLite
import Foundation

struct SQLiteError: Error { let code: Int32 }

/// An open database.
final class SQLite {
    private var connection: OpaquePointer?
    private var select: OpaquePointer?
    private var write: OpaquePointer?

    init(_ path: URL) throws {
        try check(sqlite3_open(path.path, &connection))
        let pragmas = ["journal_mode = wal", "synchronous = normal", "foreign_keys = on", "wal_autocheckpoint = 16000"]
        for pragma in pragmas { try run("PRAGMA \(pragma)") }
        try run("CREATE TABLE item (\(Item.columns))")
        select = try prepare(Item.all)
        write = try prepare(Item.update)
    }

    deinit {
        sqlite3_finalize(select)
        sqlite3_finalize(write)
        sqlite3_close(connection)
    }

    func fill() throws {
        let insert = try prepare(Item.insert)
        defer { sqlite3_finalize(insert) }
        try run("BEGIN")
        for number in 0..<Item.count {
            for (index, value) in Item.values(number).enumerated() {
                let at = Int32(index + 1)
                switch value {
                case .null: sqlite3_bind_null(insert, at)
                case .integer(let value): sqlite3_bind_int64(insert, at, value)
                case .real(let value): sqlite3_bind_double(insert, at, value)
                case .text(let text): bind(insert, at, text)
                case .blob: throw NotDone()
                }
            }
            sqlite3_step(insert)
            sqlite3_reset(insert)
        }
        try run("COMMIT")
    }

    /// All rows as an app stores them.
    func items() throws -> [Item] {
        var items: [Item] = []
        defer { sqlite3_reset(select) }
        while sqlite3_step(select) == SQLITE_ROW {
            items.append(
                Item(
                    id: text(0), title: text(1), body: text(2), count: sqlite3_column_int64(select, 3),
                    amount: sqlite3_column_double(select, 4), done: sqlite3_column_int(select, 5) != 0,
                    note: sqlite3_column_type(select, 6) == SQLITE_NULL ? nil : text(6), updated_at: text(7)))
        }
        return items
    }

    func update(_ title: String, _ count: Int, _ key: String) throws {
        bind(write, 1, title)
        sqlite3_bind_int64(write, 2, Int64(count))
        bind(write, 3, key)
        guard sqlite3_step(write) == SQLITE_DONE else { throw NotDone() }
        sqlite3_reset(write)
    }

    /// By length, which avoids searching for the terminator.
    private func text(_ column: Int32) -> String {
        guard let bytes = sqlite3_column_text(select, column) else { return "" }
        let length = Int(sqlite3_column_bytes(select, column))
        return String(decoding: UnsafeBufferPointer(start: bytes, count: length), as: UTF8.self)
    }

    private func bind(_ statement: OpaquePointer?, _ at: Int32, _ text: String) {
        // SQLITE_TRANSIENT: Swift does not import the header's cast.
        sqlite3_bind_text(statement, at, text, -1, unsafeBitCast(-1, to: sqlite3_destructor_type.self))
    }

    private func prepare(_ sql: String) throws -> OpaquePointer? {
        var statement: OpaquePointer?
        try check(sqlite3_prepare_v2(connection, sql, -1, &statement, nil))
        return statement
    }

    private func run(_ sql: String) throws { try check(sqlite3_exec(connection, sql, nil, nil, nil)) }

    private func check(_ code: Int32) throws {
        guard code == SQLITE_OK else { throw SQLiteError(code: code) }
    }
}
