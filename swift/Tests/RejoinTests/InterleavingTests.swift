// Every interleaving of a transaction whose body waits with other events.
//
// Each order runs twice on the real engine: stepwise, compared with a model, and without waiting between the steps, where
// races may end either way. In both, a transaction that returned is complete in the file; any other leaves no trace. No
// reader sees a partial transaction, and every task ends under a watchdog.

import Foundation
import Rejoin
import Testing

@Suite struct InterleavingTests {
    private let all = orders(Event.allCases, chain: [.begin, .await, .end])

    @Test func transactionOutcomeMatchesModelInEveryOrder() async throws {
        let count = try await runAll(stepwise: true)
        print("interleavings of a transaction, step by step: \(count)")
        #expect(count == (isDeep ? 840 : 210) * 3)
    }

    @Test func concurrentEventsNeverBlockOrSplitATransaction() async throws {
        let count = try await runAll(stepwise: false)
        print("interleavings of a transaction, all at once: \(count)")
        #expect(count == (isDeep ? 840 : 210) * 3)
    }

    @Test func checkDetectsAFailedBodyThatIsCommitted() async throws {
        let folder = try Folder()
        let fresh = try await fresh(folder)
        var broken = One(folder, fresh, [.begin, .await, .end, .query, .fire, .suspend, .shutdown], .throws, stepwise: true)
        broken.transact = { client, body in try await client.transaction { tx in try? await body(tx) } }
        await #expect(throws: Broken.self) { try await broken.run() }
        let half = One(folder, fresh, [.begin, .await, .end, .query, .fire, .suspend, .shutdown], .throws, stepwise: true)
        try await half.run()
    }

    /// A file with the table, not open; copying it is faster than creating it per order.
    private func fresh(_ folder: Folder) async throws -> URL {
        let client = try await localClient(folder)
        try await client.shutdown()
        return client.path
    }

    private func runAll(stepwise: Bool) async throws -> Int {
        let folder = try Folder()
        let fresh = try await fresh(folder)
        let runs = sample(all, End.allCases).map { One(folder, fresh, $0, $1, stepwise: stepwise) }
        // Each order has its own file, and mostly waits.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (number, one) in runs.enumerated() {
                if number >= 6 { try await group.next() }
                group.addTask { try await watched(60, "\(one.order) \(one.end)") { try await one.run() } }
            }
            try await group.waitForAll()
        }
        return runs.count
    }
}

private enum Event: CaseIterable, Sendable { case begin, await, end, query, fire, suspend, shutdown }

private enum End: CaseIterable, Sendable { case returns, `throws`, isCancelled }

/// One order, run once.
private struct One: Sendable {
    typealias Body = @Sendable (WriteTransaction) async throws -> Void

    let order: [Event]
    let end: End
    let stepwise: Bool
    let path: URL
    private let fresh: URL
    var transact: @Sendable (RejoinClient, @escaping Body) async throws -> Void = { client, body in
        try await client.transaction { tx in try await body(tx) }
    }
    private let first = Gate()
    private let second = Gate()

    init(_ folder: Folder, _ fresh: URL, _ order: [Event], _ end: End, stepwise: Bool) {
        self.fresh = fresh
        self.order = order
        self.end = end
        self.stepwise = stepwise
        path = folder.file("\(UUID().uuidString).db")
    }

    /// The tasks of one order.
    private struct Tasks {
        var transaction: Task<Void, any Error>?
        var fire: Task<Void, any Error>?
        var others: [Task<Void, any Error>] = []
    }

    func run() async throws {
        try FileManager.default.copyItem(at: fresh, to: path)
        let client = try await RejoinClient.open(RejoinConfig(path: path))
        let seen = Signal()
        let watcher = Task { () throws -> [[String]] in
            var all: [[String]] = []
            for try await ids in client.watch("SELECT id FROM item ORDER BY id", as: String.self) {
                all.append(ids)
                await seen.set()
            }
            return all
        }
        await seen.wait()
        var (tasks, model) = (Tasks(), Model(end))
        for event in order {
            try await step(event, client, &tasks, &model)
        }
        try await settle(client, tasks, model, watcher)
        for suffix in ["", "-wal", "-shm", "-rejoin-lock"] { try? FileManager.default.removeItem(atPath: path.path + suffix) }
    }

    private func body(_ tx: WriteTransaction) async throws {
        try await tx.execute("INSERT INTO item (id) VALUES ('x1')")
        await first.pass()
        let own = try await tx.query("SELECT count(*) FROM item WHERE id LIKE 'x%'", as: Int.self)
        guard own == [1] else { throw Broken("a transaction does not see its own writes: \(own)") }
        try await tx.execute("INSERT INTO item (id) VALUES ('x2')")
        await second.pass()
        if end == .throws { throw Own("of the body") }
    }

    private func step(_ event: Event, _ client: RejoinClient, _ tasks: inout Tasks, _ model: inout Model) async throws {
        switch event {
        case .begin:
            tasks.transaction = Task {
                let result = await Task.result { try await transact(client, body) }
                await first.skip()
                await second.skip()
                return try result.get()
            }
            if stepwise { await first.isReached() }
        case .await:
            await first.open()
            if stepwise { await second.isReached() }
        case .end:
            if end == .isCancelled { tasks.transaction?.cancel() }
            await second.open()
            if stepwise { _ = await tasks.transaction?.result }
        case .query:
            let expected = stepwise ? model.query : nil
            let query = Task { try await client.query("SELECT id FROM item ORDER BY id", as: String.self) }
            let checking = Task { try check(await query.result, expected) }
            if stepwise { try await checking.value } else { tasks.others.append(checking) }
        case .fire:
            tasks.fire = Task { _ = try await client.execute("INSERT INTO item (id) VALUES ('f')") }
            if stepwise && !model.isOpen { _ = await tasks.fire?.result }
        case .suspend, .shutdown:
            let stopping = Task { () throws -> Void in
                let error = await thrown { try await event == .suspend ? client.sync.suspend() : client.shutdown() }
                if let error, kind(error) != "closed" { throw broken("stopping threw \(error)") }
            }
            if stepwise { try await stopping.value } else { tasks.others.append(stopping) }
        }
        model.apply(event)
        if stepwise, !model.isOpen, let fire = tasks.fire { model.fired = try await outcome(fire) }
    }

    /// Waits for everything to end, and checks the file.
    private func settle(
        _ client: RejoinClient, _ tasks: Tasks, _ model: Model, _ watcher: Task<[[String]], any Error>
    ) async throws {
        for other in tasks.others { try await other.value }
        let ended = try await outcome(tasks.transaction!)
        let fired = try await outcome(tasks.fire!)
        let results = await watcher.result
        // Shutdown ends the watch; its last result may be older.
        for ids in (try? results.get()) ?? [] { try whole(ids) }
        if case .failure(let error) = results, kind(error) != "closed" { throw broken("the watch threw \(error)") }
        if stepwise, ended != model.ended { throw broken("the transaction \(ended), not \(model.ended)") }
        guard ["returned", "Own", "CancellationError", "suspended", "closed"].contains(ended) else {
            throw broken("the transaction threw \(ended)")
        }
        guard ["returned", "suspended", "closed"].contains(fired) else { throw broken("the write threw \(fired)") }
        let again = try await RejoinClient.open(RejoinConfig(path: path))
        let there = try await again.query("SELECT id FROM item ORDER BY id", as: String.self)
        try await again.shutdown()
        let expected = (fired == "returned" ? ["f"] : []) + (ended == "returned" ? ["x1", "x2"] : [])
        if there != expected { throw broken("\(there) are in the file, not \(expected)") }
    }

    private func check(_ result: Result<[String], any Error>, _ expected: String?) throws {
        let found: String
        switch result {
        case .success(let ids):
            try whole(ids)
            found = ids.joined(separator: " ")
        case .failure(let error):
            found = kind(error)
            guard ["suspended", "closed"].contains(found) else { throw broken("the query threw \(error)") }
        }
        if let expected, found != expected { throw broken("the query gave \(found), not \(expected)") }
    }

    private func whole(_ ids: [String]) throws {
        if ids.contains("x1") != ids.contains("x2") { throw broken("partial write seen: \(ids)") }
    }

    private func outcome(_ task: Task<Void, any Error>) async throws -> String {
        switch await task.result {
        case .success: return "returned"
        case .failure(let error as Broken): throw error
        case .failure(let error): return kind(error)
        }
    }

    private func broken(_ what: String) -> Broken { Broken("\(order) \(end): \(what)") }
}

/// The expected outcome of a stepwise order.
private struct Model {
    private let end: End
    private var isSuspended = false
    private var isShutDown = false
    private var hasAwaited = false
    /// What rolled the transaction back while its body waited.
    private var lost: String?
    /// The outcome of the transaction; empty until it ends.
    private(set) var ended = ""
    private var hasBegun = false
    var fired = ""

    init(_ end: End) { self.end = end }

    /// Whether the transaction blocks other writers.
    var isOpen: Bool { hasBegun && ended.isEmpty && lost == nil }

    /// The expected result of a query.
    var query: String {
        if let away { return away }
        return ((fired == "returned" ? ["f"] : []) + (ended == "returned" ? ["x1", "x2"] : [])).joined(separator: " ")
    }

    private var away: String? { isShutDown ? "closed" : isSuspended ? "suspended" : nil }

    mutating func apply(_ event: Event) {
        switch event {
        case .begin:
            hasBegun = true
            if let away { ended = away }
        case .await:
            hasAwaited = true
            if ended.isEmpty, let lost { ended = lost }
        case .end where ended.isEmpty:
            switch end {
            case .returns: ended = lost ?? "returned"
            case .throws: ended = "Own"
            case .isCancelled: ended = "CancellationError"
            }
        case .suspend where !isShutDown:
            isSuspended = true
            if isOpen { lost = "suspended" }
        case .shutdown:
            isShutDown = true
            if isOpen { lost = "closed" }
        default: break
        }
    }
}

extension Task where Success == Void, Failure == any Error {
    /// The result or the error of `body`.
    static func result(_ body: () async throws -> Void) async -> Result<Void, any Error> {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
