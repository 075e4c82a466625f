// Actions on one device: declared, and in code that waits. ReplayTests.swift has actions that run again.

import Foundation
@testable import Rejoin
import Testing

@Suite struct ActionTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private let rename = """
        {"name": "rename", "parameters": [{"name": "id", "type": "text"}, {"name": "title", "type": "text"}],
         "preconditions": [{"sql": "SELECT count(*) FROM task WHERE id = :id", "message": "it is gone"}],
         "statements": ["UPDATE task SET title = :title WHERE id = :id"], "result": "SELECT title FROM task WHERE id = :id"}
        """

    /// A client with these actions and one task, titled `old`.
    private func client(
        _ change: (inout RejoinConfig) -> Void = { _ in }, _ register: (inout Actions) -> Void
    ) async throws -> RejoinClient {
        var actions = Actions()
        register(&actions)
        let client = try await offlineClient(folder) {
            $0.actions = actions
            change(&$0)
        }
        try await client.execute("INSERT INTO task (id, title, rank) VALUES ('a', 'old', 5)")
        return client
    }

    private struct Renamed: Codable, Sendable, Equatable { let title: String }

    @Test func rowIDsDeriveFromTheProjectionOfTheRow() async throws {
        let client = try await client { actions in
            actions.identity(of: "TASK", columns: ["by"])
            actions.projection(of: "Task") { row in
                guard let at = row["at"] as? String else { throw Own("no day") }
                return ["day": String(at.prefix(3))]
            }
            actions.handler("make", as: NoArguments.self) { context, _ in
                for at in ["monday", "tuesday"] {
                    let id = try await context.rowID(of: "task", ["at": at, "by": 1])
                    try await context.execute("INSERT INTO task (id, title, rank) VALUES (?, 'x', 1)", [id])
                }
            }
            actions.handler("twice", as: NoArguments.self) { context, _ in
                for at in ["monday", "mon"] { _ = try await context.rowID(of: "task", ["at": at]) }
            }
            actions.handler("wrong", as: NoArguments.self) { context, _ in _ = try await context.rowID(of: "TASK", ["by": 1]) }
        }
        try await client.perform("make")
        #expect(try await client.titles().count == 3)
        guard case RejoinError.action(let twice)? = await thrown({ try await client.perform("twice") })
        else { throw Own("a second row with the same id must be rejected") }
        #expect(twice.action == "twice" && twice.fault == .sameRow)
        let wrong = await thrown { try await client.perform("wrong") }
        #expect(kind(wrong) == "callback" && "\(wrong!)".contains("no day"))
    }

    private struct Every: Codable, Sendable, Equatable {
        let text: String, integer: Int64, real: Double, boolean: Bool, time: Date, blob: Data, json: [String: [Int]], none: String?
    }

    @Test func argumentsDecodeToSwiftTypes() async throws {
        let seen = Locked<[Every]>([])
        let parameters: [ActionParameter] = [
            .init("text", .text), .init("integer", .integer), .init("real", .real), .init("boolean", .boolean), .init("time", .time),
            .init("blob", .blob), .init("json", .json), .init("none", .text, optional: true),
        ]
        let client = try await client { actions in
            actions.handler("every", as: Every.self, parameters: parameters) { _, given in
                seen.with { $0.append(given) }
                return given
            }
        }
        let every = Every(
            text: "na\u{ef}ve", integer: .max, real: 0.1, boolean: true, time: Date(millis: 1_700_000_000_123), blob: Data([0, 255]),
            json: ["a": [1, 2]], none: nil)
        #expect(try await client.perform("every", every).value() == every)
        let members: ActionArguments = [
            "text": every.text, "integer": every.integer, "real": every.real, "boolean": true, "time": every.time, "blob": every.blob,
            "json": every.json, "none": nil,
        ]
        let performed = try await client.perform("every", members)
        #expect(try performed.value() == every && performed.id == nil, "it wrote nothing")
        #expect(seen.with { $0 } == [every, every])
    }

    @Test func instantsParseAndPrintRFC3339InMicroseconds() async throws {
        let table: [(String, Int64)] = [
            ("2026-01-02T03:04:05Z", 1_767_323_045_000_000), ("2026-01-02T03:04:05.000001Z", 1_767_323_045_000_001),
            ("2026-01-02T03:04:05.5+01:00", 1_767_319_445_500_000), ("1969-12-31T23:59:59.999999Z", -1),
            ("2023-11-14T22:13:20.123Z", 1_700_000_000_123_000),
        ]
        for (text, micros) in table {
            let date = try JSONText("\"\(text)\"").decode(Date.self)
            #expect(date == Date(micros: micros), "\(text)")
            #expect(try JSONText(JSONText(date).text).decode(Date.self) == date, "\(text)")
        }
        #expect(Date(micros: -1).rfc3339 == "1969-12-31T23:59:59.999999Z")
        for text in ["tomorrow", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05", ""] {
            #expect(await thrown { _ = try JSONText("\"\(text)\"").decode(Date.self) } is DecodingError, "\(text)")
        }
    }

    private struct Made: Codable, Sendable { let before: String, mutation: String, id: String, now: String, time: String, date: Date }

    @Test func codeActionReadsWritesAndReturnsAValue() async throws {
        let client = try await client { actions in
            actions.handler("swap", as: Renamed.self, parameters: [.init("title", .text)]) { context, given in
                let before = try await context.query("SELECT title FROM task", as: String.self)[0]
                #expect(try await context.execute("UPDATE task SET title = ?", [given.title]) == 1)
                let id = try await context.rowID(of: "task", ["title": "made"])
                let made = try await context.query("INSERT INTO task (id, title) VALUES (?, 'made') RETURNING id", [id])
                #expect(try made[0].get("id", as: String.self) == id)
                let now = try await context.query("SELECT rejoin_now()", as: String.self)[0]
                return Made(before: before, mutation: context.mutationID, id: id, now: now, time: context.time, date: context.date)
            }
            actions.identity(of: "task", columns: ["title"])
        }
        let swapped = try await client.perform("swap", Renamed(title: "new"))
        let made = try swapped.value(as: Made.self)
        #expect(made.before == "old" && made.mutation == swapped.id && made.now == made.time)
        #expect(abs(made.date.timeIntervalSinceNow) < 60)
        #expect(try await client.query("SELECT id FROM task WHERE title = 'made'", as: String.self) == [made.id])
        #expect(try await client.queue.all().map(\.action) == [nil, "swap"], "one mutation with the action name")
    }

    private struct How: Codable, Sendable { let how: String }

    @Test func errorOfActionCodeRollsBackAndKeepsItsType() async throws {
        let client = try await client { actions in
            actions.handler("try", as: How.self, parameters: [.init("how", .text)]) { context, given in
                try await context.execute("UPDATE task SET title = 'half'")
                switch given.how {
                case "refused": throw context.refuse("too late")
                case "rule": try await context.execute("INSERT INTO task (id, title) VALUES ('a', '')")
                case "chance": try await context.execute("UPDATE task SET title = random()")
                case "twice": for _ in 0..<2 { _ = try? await context.rowID(of: "task", ["title": "x"]) }
                case "row": _ = try await context.rowID(of: "task", [:])
                case "other": throw RejoinError.offline("no identity server")
                default: throw Own("of the app")
                }
            }
            actions.identity(of: "task", columns: ["title"])
        }
        func error(_ how: String) async -> (any Error)? { await thrown { try await client.perform("try", How(how: how)) } }
        guard case RejoinError.action(let refused)? = await error("refused"), case RejoinError.constraint(let rule)? = await error("rule"),
            case RejoinError.invalidInput(let chance)? = await error("chance"),
            case RejoinError.action(let twice)? = await error("twice"),
            case RejoinError.invalidInput(let row)? = await error("row"),
            case RejoinError.callback(let other)? = await error("other"),
            case RejoinError.callback(let own)? = await error("else")
        else { throw Own("another kind of error") }
        #expect(refused == ActionError(reason: refused.reason, action: "try", fault: .refused, detail: "too late"))
        #expect(rule == ConstraintError(reason: rule.reason, table: "task", column: "id", rule: "UNIQUE"))
        #expect(twice == ActionError(reason: twice.reason, action: "try", fault: .sameRow, detail: "task"))
        #expect(chance.reason.contains("random") && row.reason.contains("title"))
        #expect(other.reason.contains("no identity server") && own.reason.contains("of the app"))
        #expect(try await client.titles() == ["old"])
        #expect(try await client.queue.all().count == 1)
    }

    @Test func endlessActionCodeIsCancelledAndItsContextEnds() async throws {
        let (cancelled, kept) = (Signal(), Locked<ActionContext?>(nil))
        let client = try await client({ $0.transactionIdle = .milliseconds(500) }) { actions in
            actions.handler("hang", as: NoArguments.self) { context, _ in
                try await context.execute("UPDATE task SET title = 'half'")
                kept.with { $0 = context }
                try? await Task.sleep(for: .seconds(3600))
                await cancelled.set()
            }
        }
        try await watched {
            guard case RejoinError.action(let hung)? = await thrown({ try await client.perform("hang") }) else {
                throw Own("it was waited for")
            }
            #expect(hung == ActionError(reason: hung.reason, action: "hang", fault: .timedOut))
            try await client.execute("UPDATE task SET title = title || 'er'")
            #expect(try await client.titles() == ["older"], "a waiting writer continues")
            await cancelled.wait()  // Its task was cancelled.
            let context = try #require(kept.with { $0 })
            let late = await thrown { try await context.execute("UPDATE task SET title = 'late'") }
            #expect(kind(late) == "transactionTimeout")
        }
    }

    @Test func suspendAndShutdownDoNotWaitForActionCode() async throws {
        let inside = Locked<[Signal]>([Signal(), Signal()])
        let client = try await client { actions in
            actions.handler("busy", as: NoArguments.self) { context, _ in
                try await context.execute("UPDATE task SET title = 'half'")
                await inside.with { $0.removeFirst() }.set()
                while true { _ = try await context.query("SELECT title FROM task") }  // Never idle.
            }
        }
        try await watched {
            let signals = inside.with { $0 }
            let first = Task { try await client.perform("busy") }
            await signals[0].wait()
            try await client.sync.suspend()
            #expect(kind(await thrown { _ = try await first.value }) == "suspended")
            try await client.sync.resume()
            #expect(try await client.titles() == ["old"])
            let second = Task { try await client.perform("busy") }
            await signals[1].wait()
            try await client.shutdown()
            #expect(kind(await thrown { _ = try await second.value }) == "closed")
        }
    }

    @Test func actionCodeMayReadButNotWriteWithTheClient() async throws {
        let client = Locked<RejoinClient?>(nil)
        let rejected = Locked<[String]>([])
        let made = try await self.client({ $0.transactionIdle = .seconds(60) }) { actions in
            actions.handler("inward", as: NoArguments.self) { context, _ in
                let client = client.with { $0 }!
                try await context.execute("UPDATE task SET title = 'mine'")
                let calls: [@Sendable () async throws -> Void] = [
                    { try await client.execute("UPDATE task SET title = 'other'") }, { try await client.perform("inward") },
                    { try await client.transaction { _ in } }, { _ = try await client.queue.all() }, { try await client.shutdown() },
                ]
                for call in calls {
                    let error = await thrown(call)
                    #expect(kind(error) == "invalidInput" && "\(error!)".hasPrefix("called from inside an action"), "\(error!)")
                }
                // Child tasks are inside as well. Detached tasks may read; they see the state before the action.
                let child = await Task { try await client.execute("DELETE FROM task") }.result
                #expect(throws: RejoinError.self) { try child.get() }
                rejected.with { $0.append("refused") }
                return try await client.titles()
            }
        }
        client.with { $0 = made }
        try await watched(30) {  // Well before the idle timeout.
            let titles = try await made.perform("inward").value(as: [String].self)
            #expect(titles == ["old"])
        }
        #expect(rejected.with { $0 } == ["refused"])
        try await made.execute("UPDATE task SET title = title || '!'")
        #expect(try await made.titles() == ["mine!"])
        client.with { $0 = nil }
    }

    @Test func cancelledTaskStillGetsTheResultOfItsAction() async throws {
        let gate = Gate()
        let client = try await client { actions in
            actions.handler("wait", as: NoArguments.self) { context, _ in
                try await context.execute("UPDATE task SET title = 'one'")
                await gate.pass()
                try await context.execute("UPDATE task SET title = title || ' two'")
                return Task.isCancelled
            }
        }
        try await watched {
            let task = Task { try await client.perform("wait") }
            await gate.isReached()
            task.cancel()
            await gate.open()
            let wasCancelled = try await task.value.value(as: Bool.self)
            let titles = try await client.titles()
            #expect(!wasCancelled && titles == ["one two"])
        }
    }

    @Test func openReportsAllProblemsOfActions() async throws {
        let refused = await thrown {
            _ = try await client { actions in
                actions.declare(#"{"name": "empty", "statements": []}"#)
                actions.handler("", as: NoArguments.self) { _, _ in }
            }
        }
        #expect(kind(refused) == "configuration")
        #expect("\(refused!)".contains("it has no statement") && "\(refused!)".contains("needs a name"))
        let unsaid = await thrown {
            _ = try await client { actions in
                actions.handler("x", as: NoArguments.self, upgrades: [.init(from: 1, set: ["n": Double.infinity])]) { _, _ in }
            }
        }
        #expect(kind(unsaid) == "configuration" && "\(unsaid!)".contains("upgrade of version 1"))
        let outside = ActionBudget(run: .seconds(-1), rebase: .seconds(Int64.max), bytes: -1)
        let beyond = ActionBudget(run: .milliseconds(99), rebase: .seconds(61), bytes: 1_023)
        for (budget, name) in [(outside, "actionBudget"), (beyond, "action_budget")] {
            let error = await thrown { _ = try await offlineClient(folder) { $0.actionBudget = budget } }
            #expect(kind(error) == "configuration")
            for field in ["run", "rebase", "bytes"] { #expect("\(error!)".contains("\(name).\(field)")) }
        }
    }
}
