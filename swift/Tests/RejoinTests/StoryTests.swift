// End-to-end tests on the real engine against a real server process.

import Foundation
@testable import Rejoin
import Testing

@Suite struct StoryTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func slowReaderGetsTheLatestOf1000Changes() async throws {
        let client = try await localClient(folder)
        try await client.execute("INSERT INTO item VALUES ('a', 0, NULL)")
        let written = Counter()
        try await watched(120) {
            let writer = Task {
                for number in 1...1000 {
                    try await client.execute("UPDATE item SET n = ?", [number])
                    await written.reach(number)
                }
            }
            var seen: [Int] = []
            for try await n in client.watch("SELECT n FROM item", as: Int.self) {
                seen.append(n[0])
                if n[0] == 1000 { break }
                // As slow as forty writes.
                await written.wait(for: min(1000, n[0] + 40))
            }
            try await writer.value
            #expect(seen == seen.sorted() && Set(seen).count == seen.count)
            // Ideally 26; more if the watch thread falls behind the writer for a moment.
            #expect(seen.count <= 100, "it skips what is stale: \(seen.count) results")
        }
    }

    @Test func clientContinuesAfterAnyCallbackError() async throws {
        let server = try StoryServer(tokens: true)
        let session = Session(server)
        let transport = Stubborn()
        let client = try await device("phone", folder, server) {
            $0.userID = nil
            $0.tokens = session
            $0.transport = transport
        }
        try await client.insertTask("a", "kept")

        await session.fail(with: Own("no identity server"))
        let noToken = await thrown { try await client.sync.run(timeout: .seconds(20)) }
        #expect(kind(noToken) == "offline" && "\(noToken!)".contains("no identity server"))

        await session.fail(with: nil)
        for (error, word) in [(Own("no tunnel"), "no tunnel"), (RejoinError.offline("no radio"), "no radio")]
            as [(any Error, String)]
        {
            transport.fail(with: error)
            let lost = await thrown { try await client.sync.run(timeout: .seconds(20)) }
            #expect(kind(lost) == "offline" && "\(lost!)".contains(word), "\(String(describing: lost))")
        }

        await #expect(throws: Own("body")) { try await client.transaction { _ in throw Own("body") } }
        await #expect(throws: Own("part")) {
            try await client.transaction { tx in try await tx.savepoint { throw Own("part") } }
        }
        await #expect(throws: Own("read")) { try await client.read { _ in throw Own("read") } }
        #expect(await thrown { for try await _ in client.watch("SELECT title FROM task", as: Int.self) {} } is DecodingError)

        #expect(try await client.titles() == ["kept"])
        #expect(try await client.queue.all().map(\.rows.count) == [1])
    }

    @Test func customTransportCarriesTheSync() async throws {
        let server = try StoryServer()
        let transport = Forwarding()
        let client = try await device("phone", folder, server) { $0.transport = transport }
        try await client.insertTask("a", "by the app's own way")
        #expect(try await client.sync.run(timeout: .seconds(30)).stillPending == 0)
        #expect(transport.requests() > 0)
        try await client.sync.suspend()
        try await client.sync.resume()
        #expect(try server.column("SELECT title FROM task") == ["by the app's own way"])
    }

    @Test func hundredConcurrentCallersAllComplete() async throws {
        let client = try await localClient(folder)
        try await watched(120) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for caller in 0..<100 {
                    group.addTask {
                        for turn in 0..<10 {
                            let id = "\(caller)-\(turn)"
                            switch (caller + turn) % 3 {
                            case 0: try await client.execute("INSERT INTO item VALUES (?, 1, NULL)", [id])
                            case 1:
                                try await client.transaction { tx in
                                    try await tx.execute("INSERT INTO item VALUES (?, 0, NULL)", [id])
                                    await Task.yield()
                                    try await tx.execute("UPDATE item SET n = 1 WHERE id = ?", [id])
                                }
                            default: try await client.batch([Statement("INSERT INTO item VALUES (?, 1, NULL)", [id])])
                            }
                            let found = try await client.query("SELECT n FROM item WHERE id = ?", [id], as: Int.self)
                            guard found == [1] else { throw Own("\(id) is not there") }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(try await client.items() == 1000)
    }

    @Test func opensAndShutdownsLeakNothing() async throws {
        try await watched(540) {
            let rounds = isDeep ? 2000 : 500
            for number in 0..<300 { try await openAndShutDown(number) }
            let before = try Footprint.now()
            for number in 0..<rounds { try await openAndShutDown(number) }
            let after = try Footprint.settled(like: before)
            #expect(after.threads <= before.threads)
            #expect(after.descriptors <= before.descriptors)
            // The allocator keeps some memory; over 2,000 rounds of the deep run a leak per client would be many times this.
            #expect(after.kilobytes <= before.kilobytes + 8 * 1024, "\(before) -> \(after)")
            print("footprint of \(rounds) opens and shutdowns: \(before) -> \(after)")
        }
    }

    /// Opens a client, uses its resources and shuts it down; every third is only released. Every fourth syncs without a
    /// server.
    private func openAndShutDown(_ number: Int) async throws {
        var configuration = RejoinConfig(path: folder.file("\(number % 4).db"))
        if number % 4 == 3 { configuration.server = URL(string: "http://127.0.0.1:9") }
        let client = try await RejoinClient.open(configuration)
        if number % 4 == 3 { try await client.start() }
        try await client.schema.createTable("item", "id TEXT PRIMARY KEY, n INTEGER, body TEXT")
        try await client.transaction { tx in try await tx.execute("INSERT OR REPLACE INTO item VALUES ('a', ?, NULL)", [number]) }
        for try await n in client.watch("SELECT n FROM item", as: Int.self) {
            #expect(n == [number])
            break
        }
        _ = client.changes()
        var statuses = client.statusUpdates.makeAsyncIterator()
        _ = await statuses.next()
        if number % 3 != 0 { try await client.shutdown() }
    }
}

/// A counter that tests wait for.
private actor Counter {
    private var value = 0
    private var waiting: [(Int, CheckedContinuation<Void, Never>)] = []

    func reach(_ number: Int) {
        value = number
        waiting.filter { $0.0 <= value }.forEach { $0.1.resume() }
        waiting.removeAll { $0.0 <= value }
    }

    func wait(for number: Int) async {
        if value >= number { return }
        await withCheckedContinuation { waiting.append((number, $0)) }
    }
}

/// Tokens from the test server.
private actor Session: TokenProvider {
    private let server: StoryServer
    private var failure: Own?

    init(_ server: StoryServer) { self.server = server }

    func token(refresh: Bool) async throws -> String? {
        if let failure { throw failure }
        return try server.token()
    }

    func fail(with failure: Own?) { self.failure = failure }
}

/// A transport that always fails.
private final class Stubborn: HTTPTransport {
    private let failure = Locked<any Error>(Own("nothing set"))

    func fail(with error: any Error) { failure.with { $0 = error } }
    func send(_: HTTPRequest) async throws -> HTTPResponse { throw failure.with { $0 } }
    func disconnect() {}
}

/// Resources of the process, from the kernel.
private struct Footprint: CustomStringConvertible {
    let threads: Int
    let descriptors: Int
    let kilobytes: Int

    var description: String { "\(threads) threads, \(descriptors) descriptors, \(kilobytes) kB" }

    static func now() throws -> Footprint {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        func number(_ name: String) -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") } ?? ""
            return Int(line.filter(\.isNumber)) ?? 0
        }
        let descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        return Footprint(threads: number("Threads"), descriptors: descriptors, kilobytes: number("VmRSS"))
    }

    /// Polls up to ten seconds until it does not exceed `before`: threads need a moment to end.
    static func settled(like before: Footprint) throws -> Footprint {
        let deadline = Date(timeIntervalSinceNow: 10)
        while true {
            let now = try now()
            if now.threads <= before.threads && now.descriptors <= before.descriptors || Date() > deadline { return now }
            sched_yield()
        }
    }
}
