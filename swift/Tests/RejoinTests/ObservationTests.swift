// Watches, changes, status and the log: streams that end with their reader.

import Foundation
@testable import Rejoin
import Testing

@Suite struct ObservationTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private let insert = "INSERT INTO item VALUES (?, 1, NULL)"

    @Test func watchEmitsRowsNowAndAfterEachChange() async throws {
        let client = try await localClient(folder)
        try await watched {
            var seen: [[String]] = []
            for try await ids in client.watch("SELECT id FROM item ORDER BY id", as: String.self) {
                seen.append(ids)
                if ids.count == 2 { break }
                try await client.execute(insert, ["\(ids.count)"])
            }
            #expect(seen == [[], ["0"], ["0", "1"]])
        }
    }

    @Test func readOnlyClientFollowsTheCommitsOfAnotherOne() async throws {
        let client = try await localClient(folder)
        let reader = try await ReadOnlyClient.open(client.path)
        try await watched {
            var seen: [[String]] = []
            for try await rows in reader.watch("SELECT id FROM item WHERE n = ?", [1]) {
                seen.append(try rows.decode(String.self))
                if seen.count == 2 { break }
                try await client.execute(insert, ["a"])
            }
            #expect(seen == [[], ["a"]])
        }
        let both = try await reader.queryMany([Statement("SELECT 1"), Statement("SELECT id FROM item")])
        #expect(both.map(\.count) == [1, 1])
        await #expect(throws: RejoinError.self) { try await reader.query("DELETE FROM item RETURNING id") }
        try await reader.shutdown()
        await #expect(throws: RejoinError.self) { try await reader.query("SELECT 1") }
        await #expect(throws: RejoinError.self) {
            try await ReadOnlyClient.open(client.path.appendingPathExtension("missing"))
        }
    }

    @Test func watchStartsWithItsFirstReader() async throws {
        let client = try await localClient(folder)
        let stream = client.watch("SELECT id FROM item")
        try await client.execute(insert, ["a"])
        try await watched {
            for try await rows in stream {
                #expect(try rows.decode(String.self) == ["a"])
                return
            }
        }
    }

    @Test func watchWithKeyReportsTheDifference() async throws {
        let client = try await localClient(folder)
        try await client.executeScript("INSERT INTO item VALUES ('a', 1, NULL), ('b', 1, NULL)")
        try await watched {
            var seen: [RowDifference] = []
            for try await update in client.watch("SELECT id, n FROM item ORDER BY id", key: ["id"]) {
                seen.append(update.difference)
                if seen.count == 2 { break }
                try await client.executeScript(
                    "DELETE FROM item WHERE id = 'a'; UPDATE item SET n = 2; INSERT INTO item VALUES ('c', 3, NULL)")
            }
            #expect(
                seen == [
                    RowDifference(added: [0, 1], changed: [], removed: []),
                    RowDifference(added: [1], changed: [0], removed: [0]),
                ])
        }
    }

    @Test func cancelledTaskEndsTheLoop() async throws {
        let client = try await localClient(folder)
        try await watched {
            let first = Signal()
            let reader = Task {
                var count = 0
                for try await _ in client.watch("SELECT id FROM item") {
                    count += 1
                    await first.set()
                }
                return count
            }
            await first.wait()
            reader.cancel()
            let count = try await reader.value
            #expect(count == 1)
        }
    }

    @Test func shutdownEndsEveryStream() async throws {
        let client = try await localClient(folder)
        try await watched {
            async let rows: Int = {
                var count = 0
                for try await _ in client.watch("SELECT id FROM item") { count += 1 }
                return count
            }()
            async let statuses: Int = {
                var count = 0
                for await _ in client.statusUpdates { count += 1 }
                return count
            }()
            async let changes: Int = {
                var count = 0
                for await _ in client.changes() { count += 1 }
                return count
            }()
            try await client.execute(insert, ["a"])
            try await client.shutdown()
            // A stream that starts too late ends as well; a watch throws the reason.
            _ = await (statuses, changes)
            do { _ = try await rows } catch { #expect(kind(error) == "closed") }
            for await _ in client.statusUpdates {}
            for await _ in client.changes() {}
        }
    }

    @Test func invalidQueryThrowsInTheLoop() async throws {
        let client = try await localClient(folder)
        try await watched {
            let error = await thrown { for try await _ in client.watch("SELECT nothing FROM item") {} }
            #expect(kind(error) == "invalidInput")
            let other = await thrown { for try await _ in client.watch("SELECT 'x' AS n", as: Int.self) {} }
            #expect(other is DecodingError)
        }
    }

    @Test func watchContinuesAfterSuspension() async throws {
        let client = try await localClient(folder)
        try await watched {
            for try await ids in client.watch("SELECT id FROM item", as: String.self) {
                if ids == ["a"] { break }
                try await client.sync.suspend()
                try await client.sync.resume()
                try await client.execute(insert, ["a"])
            }
        }
    }

    @Test func changesReportTablesAndOrigin() async throws {
        let client = try await localClient(folder)
        try await client.schema.createTable("other", "id TEXT PRIMARY KEY")
        try await watched {
            var changes = client.changes(["item"]).makeAsyncIterator()
            try await client.execute("INSERT INTO other VALUES ('x')")
            try await client.execute(insert, ["a"])
            let change = await changes.next()
            #expect(change?.origin == .local)
            #expect(change?.tables.keys.contains("item") == true)
        }
    }

    @Test func changesStreamEndsWithItsTask() async throws {
        let client = try await localClient(folder)
        try await watched {
            let first = Signal()
            let reader = Task {
                for await _ in client.changes(["item"]) { await first.set() }
            }
            let writer = Task {
                // The reader may start late; earlier writes are not reported.
                while !Task.isCancelled {
                    try await client.execute("INSERT OR REPLACE INTO item VALUES ('a', 1, NULL)")
                }
            }
            await first.wait()
            reader.cancel()
            await reader.value
            writer.cancel()
            _ = await writer.result
        }
    }

    @Test func statusStreamEmitsNowAndOnEachChange() async throws {
        let server = try StoryServer()
        let client = try await device("status", folder, server)
        #expect(client.status == SyncStatus(state: .idle, firstSync: .absent))
        try await watched {
            var states: [SyncState] = []
            for await status in client.statusUpdates {
                states.append(status.state)
                switch status.state {
                case .idle: try await client.start()
                case .upToDate: try await client.sync.suspend()
                case .suspended: try await client.stop()
                default: break
                }
                if status.state == .stopped { break }
            }
            #expect(states.first == .idle)
        }
    }

    @Test func slowReaderGetsMergedChanges() async {
        let mailbox = Change.mailbox()
        for number in 0..<1000 {
            let tables = ["t\(number % 3)": [SQLValue.integer(Int64(number))]]
            mailbox.put(Change(origin: number % 2 == 0 ? .local : .remote, tables: tables, queue: number == 7))
        }
        mailbox.end()
        var received: [Change] = []
        while let change = await mailbox.next() { received.append(change) }
        #expect(received.count <= Change.kept)
        #expect(Set(received.flatMap(\.tables.keys)) == ["t0", "t1", "t2"])
        #expect(received.contains { $0.queue && $0.origin == .remote })
        #expect(received.last?.tables.values.first == [.integer(999)])
    }

    @Test func logRecordsReachTheApp() async throws {
        let records = Records()
        try RejoinClient.setLogger(from: .trace) { records.take($0) }
        defer { try? RejoinClient.setLogger(nil) }
        let server = try StoryServer()
        let client = try await device("logged", folder, server)
        try await client.insertTask("a", "a secret of the row")
        try await client.sync.run(timeout: .seconds(30))
        try await client.shutdown()
        try RejoinClient.setLogger(nil)
        let all = records.all()
        #expect(!all.isEmpty)
        #expect(all.allSatisfy { $0.target.hasPrefix("rejoin") && !"\($0.text) \($0.fields)".contains("a secret of the row") })
    }

    private final class Records: @unchecked Sendable {
        private let lock = NSLock()
        private var records: [LogRecord] = []
        func take(_ record: LogRecord) { lock.withLock { records.append(record) } }
        func all() -> [LogRecord] { lock.withLock { records } }
    }
}
