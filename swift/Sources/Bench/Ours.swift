// The Rejoin workloads: reading the benchmark rows, and the delay from commit to watch.

import Foundation
import Rejoin

/// A row as an app stores it.
struct Item: Decodable, Sendable {
    let id: String
    let title: String
    let body: String
    let count: Int64
    let amount: Double
    let done: Bool
    let note: String?
    let updated_at: String

    static let count = 10_000
    static let all = "SELECT * FROM item ORDER BY id"
    static let update = "UPDATE item SET title = ?, count = ? WHERE id = ?"
    static let insert = "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    static let columns =
        "id TEXT PRIMARY KEY, title TEXT, body TEXT, count INTEGER, amount REAL, done INTEGER, note TEXT, updated_at TEXT"

    static func key(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return "01900000-0000-7000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// The row with this number.
    static func values(_ number: Int) -> [SQLValue] {
        [
            .text(key(number)), .text("item number \(number)"),
            .text("the body of item \(number), which is a sentence of ordinary length"), .integer(Int64(number)),
            .real(Double(number) * 1.25), .integer(number % 2 == 0 ? 1 : 0), number % 3 == 0 ? .null : .text("noted"),
            .text("2026-11-20T08:00:00.000000Z"),
        ]
    }
}

extension Item {
    /// Uses the row's getters, as performance-sensitive apps do.
    init(_ row: Row) throws {
        id = try row.get(0)
        title = try row.get(1)
        body = try row.get(2)
        count = try row.get(3)
        amount = try row.get(4)
        done = try row.get(5)
        note = try row.get(6)
        updated_at = try row.get(7)
    }
}

enum Ours {
    static func open(_ path: URL) async throws -> RejoinClient {
        let client = try await RejoinClient.open(RejoinConfig(path: path))
        try await client.schema.createTable("item", Item.columns)
        try await client.batch((0..<Item.count).map { Statement(Item.insert, Item.values($0)) })
        return client
    }

    /// Milliseconds from the call of `execute` to the watch result that shows it, measured a thousand times.
    static func delays(_ client: RejoinClient) async throws -> [Double] {
        let key = Item.key(7)
        var delays: [Double] = []
        var begin = ContinuousClock.now
        var writing: Task<Void, any Error>?
        for try await rows in client.watch("SELECT count FROM item WHERE id = ?", [key]) {
            let shown = try rows[0].get(0, as: Int.self)
            if writing != nil {
                guard shown == Item.count + delays.count else { throw NotDone() }
                delays.append(milliseconds(since: begin))
                try await writing?.value
            }
            if delays.count == 1000 { break }
            let next = Item.count + delays.count
            begin = .now
            writing = Task { try await client.execute("UPDATE item SET count = ? WHERE id = ?", [next, key]) }
        }
        return delays
    }
}
