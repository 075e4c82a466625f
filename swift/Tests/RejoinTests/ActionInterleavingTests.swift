// Every interleaving of an action whose code waits with other events. The action is performed, waits at a gate, and
// returns, throws, never ends or calls the client. Its task is cancelled or not, while queries, writes, suspension and
// shutdown happen.
//
// Each order runs twice: stepwise, compared with a model, and without waiting between the steps, where races may end
// either way. In both, a performed action is complete in the file and in the queue, any other leaves no trace, and every
// task ends under a watchdog.

import Foundation
import Rejoin
import Testing

@Suite struct ActionInterleavingTests {
    private let all = orders(Event.allCases, chain: [.perform, .opens])

    @Test func actionOutcomeMatchesModelInEveryOrder() async throws {
        let ends = try await runAll(stepwise: true)
        for end in ["returned", "callback", "suspended", "closed"] { #expect(ends[end, default: 0] > 0, "\(end)") }
    }

    @Test func concurrentEventsNeverBlockOrSplitAnAction() async throws { _ = try await runAll(stepwise: false) }

    @Test func checkDetectsAFalselyReportedFailure() async throws {
        var broken = One(try Folder(), [.perform, .opens, .query, .fires, .suspend, .shutdown], .never, stepwise: true)
        broken.perform = { client in
            try await client.execute("INSERT INTO task (id) VALUES ('x1'), ('x2')")
            throw RejoinError.suspended("injected fault")
        }
        await #expect(throws: Broken.self) { _ = try await broken.run() }
    }

    /// The number of orders per outcome.
    private func runAll(stepwise: Bool) async throws -> [String: Int] {
        let folder = try Folder()
        let runs = sample(all, End.allCases).map { One(folder, $0, $1, stepwise: stepwise) }
        var ends: [String: Int] = [:]
        try await withThrowingTaskGroup(of: String.self) { group in
            for (number, one) in runs.enumerated() {
                if number >= 6, let end = try await group.next() { ends[end, default: 0] += 1 }
                group.addTask { try await watched(60, "\(one.order) \(one.end)") { try await one.run() } }
            }
            for try await end in group { ends[end, default: 0] += 1 }
        }
        print("interleavings of an action, \(stepwise ? "step by step" : "all at once"): \(runs.count), \(ends)")
        #expect(runs.count == (isDeep ? 360 : 90) * 5)
        return ends
    }
}

private enum Event: CaseIterable, Sendable { case perform, opens, query, fires, suspend, shutdown }

private enum End: CaseIterable, Sendable { case returns, `throws`, never, callsBack, isCancelled }

/// One order, run once.
private struct One: Sendable {
    let order: [Event]
    let end: End
    let stepwise: Bool
    let file: String
    let folder: Folder
    var perform: @Sendable (RejoinClient) async throws -> Void = { try await $0.perform("wait") }
    private let gate = Gate()

    init(_ folder: Folder, _ order: [Event], _ end: End, stepwise: Bool) {
        self.order = order
        self.end = end
        self.stepwise = stepwise
        self.folder = folder
        file = "\(UUID().uuidString).db"
    }

    /// The tasks of one order.
    private struct Tasks {
        var performed = Task<Void, any Error> {}
        var write = Task<Void, any Error> {}
        var others: [Task<Void, any Error>] = []
    }

    func run() async throws -> String {
        let box = Box()
        let client = try await open(box)
        await box.keep(client)
        var (tasks, model) = (Tasks(), Model(end))
        for event in order {
            model.apply(event)
            try await step(event, client, &tasks, model)
        }
        for other in tasks.others {
            if case .failure(let error) = await other.result, !["suspended", "closed"].contains(kind(error)) { throw error }
        }
        let performed = try await outcome(tasks.performed)
        if stepwise, performed != model.ended { throw broken("the action \(performed), not \(model.ended)") }
        try check(performed, await outcome(tasks.write), await fileRows())
        await box.drop()
        return performed
    }

    private func open(_ client: Box) async throws -> RejoinClient {
        var actions = Actions()
        actions.handler("wait", as: NoArguments.self) { context, _ in
            try await context.execute("INSERT INTO task (id) VALUES ('x1')")
            await gate.pass()
            try await meanwhile(client)
            try await context.execute("INSERT INTO task (id) VALUES ('x2')")
        }
        return try await offlineClient(folder) {
            $0.path = folder.file(file)
            $0.actions = actions
            // Stepwise, no action may be cancelled for being slow.
            $0.transactionIdle = stepwise ? .seconds(30) : .milliseconds(400)
        }
    }

    private func meanwhile(_ client: Box) async throws {
        switch end {
        case .returns, .isCancelled: break
        case .throws: throw Own("of the code")
        case .never: try await Task.sleep(for: .seconds(3600))
        case .callsBack:
            guard let client = await client.client else { break }
            guard kind(await thrown { try await client.execute("DELETE FROM task") }) == "invalidInput" else {
                throw Broken("\(order) \(end): the client accepted the write")
            }
            _ = try? await client.query("SELECT id FROM task")
        }
    }

    private func step(_ event: Event, _ client: RejoinClient, _ tasks: inout Tasks, _ model: Model) async throws {
        switch event {
        case .perform:
            tasks.performed = Task {
                defer { Task { await gate.skip() } }
                try await perform(client)
            }
            if end == .isCancelled { tasks.performed.cancel() }
            if stepwise { await gate.isReached() }
        case .opens:
            await gate.open()
            if stepwise, !model.isOpen { _ = await tasks.performed.result }
        case .query:
            let query = Task { try whole(await client.query("SELECT id FROM task", as: String.self)) }
            if stepwise { _ = await query.result }
            tasks.others.append(query)
        case .fires:
            tasks.write = Task { try await client.execute("INSERT INTO task (id) VALUES ('f')") }
            if stepwise, !model.isOpen { _ = await tasks.write.result }
        case .suspend, .shutdown:
            let stopping = Task { try await event == .suspend ? client.sync.suspend() : client.shutdown() }
            if stepwise { _ = await stopping.result }
            tasks.others.append(stopping)
        }
    }

    /// The rows in the file, read by a new client.
    private func fileRows() async throws -> [String] {
        let again = try await open(Box())
        let there = try await again.query("SELECT id FROM task ORDER BY id", as: String.self)
        let waiting = try await again.queue.all().flatMap { $0.rows.map(\.key) }
        try await again.shutdown()
        if Set(waiting) != Set(there.map { SQLValue.text($0) }) { throw broken("\(waiting) is queued, \(there) is in the file") }
        for suffix in ["", "-wal", "-shm", "-rejoin-lock"] { try? FileManager.default.removeItem(atPath: folder.file(file).path + suffix) }
        return there
    }

    private func check(_ performed: String, _ written: String, _ there: [String]) throws {
        guard ["returned", "suspended", "closed", "callback", "action"].contains(performed),
            ["returned", "suspended", "closed"].contains(written)
        else { throw broken("performing \(performed), writing \(written)") }
        if performed == "callback", end != .throws { throw broken("its code threw") }
        let expected = (written == "returned" ? ["f"] : []) + (performed == "returned" ? ["x1", "x2"] : [])
        if there != expected { throw broken("\(there) are in the file, not \(expected)") }
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

/// The expected outcome of an action in a stepwise order.
private struct Model {
    private let end: End
    private var away: String?
    private var hasBegun = false
    /// The outcome; empty until it ends.
    private(set) var ended = ""

    init(_ end: End) { self.end = end }

    /// Whether the action blocks other writers.
    var isOpen: Bool { hasBegun && ended.isEmpty }

    mutating func apply(_ event: Event) {
        switch event {
        case .perform:
            hasBegun = true
            ended = away ?? ""
        case .opens where isOpen && end != .never: ended = end == .throws ? "callback" : "returned"
        case .suspend where away == nil:
            away = "suspended"
            if isOpen { ended = "suspended" }
        case .shutdown:
            away = "closed"
            if isOpen { ended = "closed" }
        default: break
        }
    }
}

/// Passes a client to code that is registered before the client exists.
private actor Box {
    private(set) var client: RejoinClient?
    func keep(_ client: RejoinClient) { self.client = client }
    func drop() { client = nil }
}
