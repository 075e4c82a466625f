// The riskiest thing: a transaction whose body waits, and everything that can happen meanwhile, in every order there is.
//
// Each order is run twice on the real engine: step by step, where a model says exactly what must come of it, and without waiting
// between the steps, where whatever races there are may be lost either way. In both, a transaction that returned is in the file
// whole, one that did not has left nothing, nobody ever sees a half, and every task ends under a watchdog.

import Foundation
import Rejoin
import Testing

@Suite struct InterleavingTests {
    private let all = orders(Event.allCases, chain: [.begin, .await, .end])

    @Test func inEveryOrderStepByStepExactlyWhatTheModelSaysComesOfIt() async throws {
        let count = try await runAll(stepwise: true)
        print("interleavings of a transaction, step by step: \(count)")
        #expect(count == 840 * 3)
    }

    @Test func inEveryOrderAllAtOnceNothingIsStuckAndNothingIsHalf() async throws {
        let count = try await runAll(stepwise: false)
        print("interleavings of a transaction, all at once: \(count)")
        #expect(count == 840 * 3)
    }

    @Test func aTransactionThatKeepsWhatItsBodyThrewAwayIsNoticed() async throws {
        let folder = try Folder()
        let fresh = try await fresh(folder)
        var broken = One(folder, fresh, [.begin, .await, .end, .query, .fire, .suspend, .shutdown], .throws, stepwise: true)
        broken.transact = { client, body in try await client.transaction { tx in try? await body(tx) } }
        await #expect(throws: Broken.self) { try await broken.run() }
        let half = One(folder, fresh, [.begin, .await, .end, .query, .fire, .suspend, .shutdown], .throws, stepwise: true)
        try await half.run()
    }

    /// A file with the table, which nobody has open: to make one takes longer than most orders.
    private func fresh(_ folder: Folder) async throws -> URL {
        let client = try await localClient(folder)
        try await client.shutdown()
        return client.path
    }

    private func runAll(stepwise: Bool) async throws -> Int {
        let folder = try Folder()
        let fresh = try await fresh(folder)
        let runs = End.allCases.flatMap { end in all.map { One(folder, fresh, $0, end, stepwise: stepwise) } }
        // Each has a file of its own, and waits most of the time.
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
    typealias Body = @Sendable (Transaction) async throws -> Void

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

    /// What became of the parts.
    private struct Fate {
        var transaction: Task<Void, any Error>?
        var fire: Task<Void, any Error>?
        var others: [Task<Void, any Error>] = []
    }

    func run() async throws {
        try FileManager.default.copyItem(at: fresh, to: path)
        let client = try await RejoinClient.open(RejoinConfiguration(path: path))
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
        var (fate, model) = (Fate(), Model(end))
        for event in order {
            try await step(event, client, &fate, &model)
        }
        try await settle(client, fate, model, watcher)
        for suffix in ["", "-wal", "-shm", "-rejoin-lock"] { try? FileManager.default.removeItem(atPath: path.path + suffix) }
    }

    private func body(_ tx: Transaction) async throws {
        try await tx.execute("INSERT INTO item (id) VALUES ('x1')")
        await first.pass()
        let own = try await tx.query("SELECT count(*) FROM item WHERE id LIKE 'x%'", as: Int.self)
        guard own == [1] else { throw Broken("a transaction does not see itself: \(own)") }
        try await tx.execute("INSERT INTO item (id) VALUES ('x2')")
        await second.pass()
        if end == .throws { throw Own("of the body") }
    }

    private func step(_ event: Event, _ client: RejoinClient, _ fate: inout Fate, _ model: inout Model) async throws {
        switch event {
        case .begin:
            fate.transaction = Task {
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
            if end == .isCancelled { fate.transaction?.cancel() }
            await second.open()
            if stepwise { _ = await fate.transaction?.result }
        case .query:
            let expected = stepwise ? model.query : nil
            let query = Task { try await client.query("SELECT id FROM item ORDER BY id", as: String.self) }
            let checking = Task { try check(await query.result, expected) }
            if stepwise { try await checking.value } else { fate.others.append(checking) }
        case .fire:
            fate.fire = Task { _ = try await client.execute("INSERT INTO item (id) VALUES ('f')") }
            if stepwise && !model.isOpen { _ = await fate.fire?.result }
        case .suspend, .shutdown:
            let leaving = Task { () throws -> Void in
                let error = await thrown { try await event == .suspend ? client.suspend() : client.shutdown() }
                if let error, kind(error) != "ended" { throw broken("leaving threw \(error)") }
            }
            if stepwise { try await leaving.value } else { fate.others.append(leaving) }
        }
        model.happens(event)
        if stepwise, !model.isOpen, let fire = fate.fire { model.fired = try await outcome(fire) }
    }

    /// Lets everything end, and looks at what is there.
    private func settle(
        _ client: RejoinClient, _ fate: Fate, _ model: Model, _ watcher: Task<[[String]], any Error>
    ) async throws {
        for other in fate.others { try await other.value }
        let ended = try await outcome(fate.transaction!)
        let fired = try await outcome(fate.fire!)
        let results = await watcher.result
        // Shutting down ends the watch; what it was told last may be older than that.
        for ids in (try? results.get()) ?? [] { try whole(ids) }
        if case .failure(let error) = results, kind(error) != "ended" { throw broken("the watch threw \(error)") }
        if stepwise, ended != model.ended { throw broken("the transaction \(ended), not \(model.ended)") }
        guard ["returned", "Own", "CancellationError", "suspended", "ended"].contains(ended) else {
            throw broken("the transaction threw \(ended)")
        }
        guard ["returned", "suspended", "ended"].contains(fired) else { throw broken("the write threw \(fired)") }
        let again = try await RejoinClient.open(RejoinConfiguration(path: path))
        let there = try await again.query("SELECT id FROM item ORDER BY id", as: String.self)
        try await again.shutdown()
        let expected = (fired == "returned" ? ["f"] : []) + (ended == "returned" ? ["x1", "x2"] : [])
        if there != expected { throw broken("\(there) are there, not \(expected)") }
    }

    private func check(_ result: Result<[String], any Error>, _ expected: String?) throws {
        let found: String
        switch result {
        case .success(let ids):
            try whole(ids)
            found = ids.joined(separator: " ")
        case .failure(let error):
            found = kind(error)
            guard ["suspended", "ended"].contains(found) else { throw broken("the query threw \(error)") }
        }
        if let expected, found != expected { throw broken("the query gave \(found), not \(expected)") }
    }

    private func whole(_ ids: [String]) throws {
        if ids.contains("x1") != ids.contains("x2") { throw broken("a half was seen: \(ids)") }
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

/// What must come of an order that is taken step by step.
private struct Model {
    private let end: End
    private var isSuspended = false
    private var isShutDown = false
    private var hasAwaited = false
    /// Why the transaction will not be: what took it away while its body waited.
    private var lost: String?
    /// How the transaction ended; empty while it has not.
    private(set) var ended = ""
    private var hasBegun = false
    var fired = ""

    init(_ end: End) { self.end = end }

    /// Whether the transaction keeps others from writing.
    var isOpen: Bool { hasBegun && ended.isEmpty && lost == nil }

    /// What a query gives now.
    var query: String {
        if let away { return away }
        return ((fired == "returned" ? ["f"] : []) + (ended == "returned" ? ["x1", "x2"] : [])).joined(separator: " ")
    }

    private var away: String? { isShutDown ? "ended" : isSuspended ? "suspended" : nil }

    mutating func happens(_ event: Event) {
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
            if isOpen { lost = "ended" }
        default: break
        }
    }
}

extension Task where Success == Void, Failure == any Error {
    /// What `body` gives or throws.
    static func result(_ body: () async throws -> Void) async -> Result<Void, any Error> {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
