// Runs commands given as JSON through the public API (tests/scenarios/README.md lists them). Every command has exactly
// one answer; a failure is answered with its error type. Used by the device of tests/interop and by the scenario runner.

import Foundation
import Rejoin

/// Extensions for the steps of a body: variables and expectations.
package protocol Hooks: Sendable {
    func resolve(_ step: JSON, _ given: JSON) -> JSON
    func check(_ step: JSON, _ answer: JSON) throws
}

/// The error that a command throws itself.
private struct OfTheApp: Error, CustomStringConvertible { let description: String }

/// The token that a provider returns, and how often it was refreshed.
private actor Tokens: TokenProvider {
    var token: String?
    var fresh: String?
    var refreshes = 0

    init(_ token: String?, _ fresh: String?) { (self.token, self.fresh) = (token, fresh) }

    func set(_ token: String?, _ fresh: String?) { (self.token, self.fresh) = (token, fresh) }

    func token(refresh: Bool) async throws -> String? {
        if refresh {
            refreshes += 1
            token = fresh ?? token
        }
        return token
    }
}

/// Runs the statements of a body.
private enum Target: Sendable {
    case client(RejoinClient)
    case transaction(WriteTransaction)
    case snapshot(Snapshot)
    case context(ActionContext)
}

/// The open clients by name.
package actor Device {
    private let hooks: (any Hooks)?
    private var clients: [String: RejoinClient] = [:]
    private var tokens: [String: Tokens] = [:]
    private var subscriptions: [String: StreamSubscription] = [:]
    private var held: Task<Void, any Error>?

    package init(hooks: (any Hooks)? = nil) { self.hooks = hooks }

    /// Runs one command.
    package func answer(_ step: JSON) async -> JSON {
        do {
            return try await run(step, nil)
        } catch {
            return failure(error)
        }
    }

    /// Shuts every client down.
    package func end() async {
        held?.cancel()
        for client in clients.values { try? await client.shutdown() }
    }

    private func client(_ step: JSON) throws -> RejoinClient {
        guard let client = clients[step.name] else { throw Malformed("no file is open") }
        return client
    }

    private func run(_ step: JSON, _ target: Target?) async throws -> JSON {
        switch step["do"].text {
        case "exec", "batch", "rows":
            if let target, step["on"] == .null { return try await statement(step, target) }
            return try await statement(step, .client(try client(step)))
        case "open": try await open(step)
        case "close", "quit": try await clients[step.name]?.shutdown()
        case "transaction": try await client(step).transaction { tx in _ = try await self.steps(step["steps"], .transaction(tx)) }
        case "hold": return try await hold(step)
        case "read": try await client(step).read { snapshot in _ = try await self.steps(step["steps"], .snapshot(snapshot)) }
        case "savepoint":
            guard case .transaction(let tx) = target else { throw Malformed("no transaction") }
            try await tx.savepoint { _ = try await self.steps(step["steps"], target) }
        case "edit":
            let (client, id) = (try client(step), step["id"].text ?? "")
            if step["steps"] == .null { return member("id", try await client.queue.edit(id, try step.statements()) as Any) }
            return member("id", try await client.queue.edit(id) { tx in _ = try await self.steps(step["steps"], .transaction(tx)) } as Any)
        case "row_id":
            guard case .context(let context) = target else { throw Malformed("no action") }
            return member("id", try await context.rowID(of: try step.text("table"), step["row"].object.mapValues { $0 }))
        case "refuse":
            guard case .context(let context) = target else { throw Malformed("no action") }
            throw context.refuse(try step.text("detail"))
        case "throw": throw OfTheApp(description: try step.text("detail"))
        case "tokens": await tokens[step.name]?.set(step["token"].text, step["fresh"].text)
        case "asked": return member("refreshes", await tokens[step.name]?.refreshes ?? 0)
        case "subscribe": try await subscribe(step)
        case "stream_sync": try await subscription(step).firstSync(timeout: .seconds(30))
        case "unsubscribe": try await subscription(step).unsubscribe()
        case "release": try subscription(step).release()
        default: return try await client(step).call(step)
        }
        return ok
    }

    private func subscribe(_ step: JSON) async throws {
        var parameters: [String: any StreamParameter] = [:]
        for (name, value) in step["parameters"].object { parameters[name] = value.text ?? value.int }
        let ttl = step["ttl"].int.map { Duration.milliseconds($0) }
        subscriptions[try step.text("id")] = try await client(step).sync.subscribe(
            try step.text("stream"), parameters, ttl: ttl, priority: step["priority"].int.map { UInt8($0) })
    }

    private func subscription(_ step: JSON) throws -> StreamSubscription {
        guard let held = subscriptions[try step.text("id")] else { throw Malformed("no subscription: \(step.line)") }
        return held
    }

    private func open(_ step: JSON) async throws {
        var configuration = try step.configuration()
        if step["token"] != .null {
            let own = Tokens(step["token"].text, step["fresh"].text)
            tokens[step.name] = own
            configuration.tokens = own
        }
        for entry in step["actions"].array { add(entry, &configuration.actions) }
        clients[step.name] = try await RejoinClient.open(configuration)
    }

    private func add(_ entry: JSON, _ actions: inout Actions) {
        if let table = entry["identity"].text { return actions.identity(of: table, columns: entry["columns"].array.map(\.word)) }
        if let table = entry["only_by_actions"].text { return actions.onlyByActions(table) }
        guard entry["runs"] != .null else { return actions.declare(entry.line) }
        let upgrades = entry["upgrades"].array.map { upgrade in
            ActionUpgrade(
                from: upgrade["version"].int ?? 0, rename: upgrade["rename"].object.mapValues(\.word), set: upgrade["set"].object.mapValues { $0 })
        }
        let (runs, run) = (entry["runs"].array, Runs())
        actions.handler(
            entry["name"].word, as: JSON.self, version: entry["version"].int ?? 1,
            parameters: entry["parameters"].array.map { ActionParameter($0["name"].word, types[$0["type"].word] ?? .json) }, upgrades: upgrades
        ) { context, given in try await self.steps(runs[min(await run.next(), runs.count - 1)], .context(context), given) }
    }

    /// Runs the steps of a body and returns the value of a `return` step. Rethrows a failure that no step expects.
    private func steps(_ steps: JSON, _ target: Target?, _ given: JSON = .null) async throws -> JSON {
        var value = JSON.null
        for raw in steps.array {
            let step = hooks?.resolve(raw, given) ?? raw
            if step["do"].text == "return" {
                value = step["value"]
                continue
            }
            var answer: JSON
            do {
                answer = try await run(step, target)
            } catch {
                if raw["expect"] == .null { throw error }
                answer = failure(error)
            }
            try hooks?.check(raw, answer)
        }
        return value
    }

    /// Answers after the steps; the body never ends.
    private func hold(_ step: JSON) async throws -> JSON {
        let client = try client(step)
        let (ran, hasRun) = AsyncThrowingStream.makeStream(of: Void.self)
        held = Task {
            do {
                try await client.transaction { tx in
                    _ = try await self.steps(step["steps"], .transaction(tx))
                    hasRun.yield()
                    try await Task.sleep(for: .seconds(86_400))
                }
            } catch {
                hasRun.finish(throwing: error)
            }
        }
        for try await _ in ran { return member("held", true) }
        return member("held", false)
    }
}

/// Counts the runs of an action.
private actor Runs {
    private var count = 0

    func next() -> Int {
        defer { count += 1 }
        return count
    }
}

private let types: [String: ActionParameterType] = [
    "text": .text, "integer": .integer, "real": .real, "boolean": .boolean, "time": .time, "blob": .blob, "json": .json,
]
private let policies: [String: ConflictPolicy] = [
    "accept_server": .acceptServer, "rebase": .rebase, "keep_local": .keepLocal, "manual": .manual, "last_write_wins": .lastWriteWins,
]
private let keeps: [String: Keep] = ["pending": .pending, "local": .local, "nothing": .nothing]
private let modes: [String: CheckpointMode] = ["passive": .passive, "full": .full, "restart": .restart, "truncate": .truncate]
private let ok = JSON.object(["ok": .bool(true)])

private func member(_ name: String, _ value: Any) -> JSON { .object([name: JSON(of: value)]) }

private func failure(_ error: any Error) -> JSON {
    guard let error = error as? RejoinError else {
        return .object(["error": .string(error is OfTheApp ? "Own" : "Other"), "reason": .string(String(describing: error))])
    }
    guard let (name, carried) = Mirror(reflecting: error).children.first else { return .null }
    let kind = name.map { $0.prefix(1).uppercased() + $0.dropFirst() } ?? ""
    return .object(members(Mirror(reflecting: carried)).merging(["error": .string(kind)]) { $1 })
}

private func rows(_ rows: RowBuffer) throws -> JSON {
    let cells = try rows.map { row in JSON.array(try rows.columns.indices.map { try row.get($0, as: SQLValue.self).cell }) }
    return .object(["columns": JSON(of: rows.columns), "rows": .array(cells)])
}

/// Statement commands, for a client or for the argument of a body.
private func statement(_ step: JSON, _ target: Target) async throws -> JSON {
    switch (step["do"].text, target) {
    case ("exec", .client(let client)): member("changes", try await client.execute(try step.text("sql"), try step.params()))
    case ("exec", .transaction(let tx)): member("changes", try await tx.execute(try step.text("sql"), try step.params()))
    case ("exec", .context(let context)): member("changes", try await context.execute(try step.text("sql"), try step.params()))
    case ("rows", .client(let client)): try rows(try await client.query(try step.text("sql"), try step.params()))
    case ("rows", .transaction(let tx)): try rows(try await tx.query(try step.text("sql"), try step.params()))
    case ("rows", .snapshot(let snapshot)): try rows(try await snapshot.query(try step.text("sql"), try step.params()))
    case ("rows", .context(let context)): try rows(try await context.query(try step.text("sql"), try step.params()))
    case ("batch", .client(let client)): member("changes", try await client.batch(try step.statements()))
    case ("batch", .transaction(let tx)): member("changes", try await tx.batch(try step.statements()))
    default: throw Malformed("no such statement: \(step.line)")
    }
}

extension RejoinClient {
    /// Commands that map to one call of the client.
    fileprivate func call(_ step: JSON) async throws -> JSON {
        let id = step["id"].text ?? ""
        let timeout = Duration.milliseconds(step["timeout"].int ?? 30_000)
        let limit = step["limit"].int ?? 100
        switch step["do"].text {
        case "script": try await executeScript(try step.text("sql"))
        case "returning": return try rows(try await executeReturning(try step.text("sql"), try step.params()))
        case "rows_of": return .object(["results": .array(try await queryMany(try step.statements()).map(rows))])
        case "create_table": try await schema.createTable(try step.text("name"), try step.text("definition"))
        case "alter_table": try await schema.alterTable(try step.text("name"), addingColumn: try step.text("definition"))
        case "create_index": return member("name", try await schema.createIndex(on: try step.text("table"), columns: step.texts("columns")))
        case "create_search_index":
            let (table, columns) = (try step.text("table"), step.texts("columns"))
            guard let tokenizer = step["tokenizer"].text else {
                return member("name", try await schema.createSearchIndex(on: table, columns: columns))
            }
            return member("name", try await schema.createSearchIndex(on: table, columns: columns, tokenizer: tokenizer))
        case "drop_search_index": try await schema.dropSearchIndex(on: try step.text("table"))
        case "start": try await start()
        case "stop": try await stop()
        case "sync": return JSON(of: try await sync.run(timeout: timeout))
        case "doctor": return JSON(of: try await sync.doctor(timeout: timeout))
        case "resync": return JSON(of: try await sync.resync(timeout: timeout))
        case "settle":
            let report = try await sync.run(timeout: timeout)
            try await stop()
            return JSON(of: report)
        case "wrote":
            try await execute(try step.text("sql"), try step.params())
            return member("id", try await queue.all().last?.id as Any)
        case "sync_now": try await sync.request()
        case "first_sync": try await sync.firstSync(timeout: timeout)
        case "subscriptions": return member("subscriptions", sync.subscriptions)
        case "credentials_changed": try await sync.credentialsChanged()
        case "network": sync.setNetwork(online: step["online"].isTrue, metered: step["metered"].isTrue)
        case "foreground": sync.foreground()
        case "status": return JSON(of: status)
        case "reach": return try await reach(step["state"])
        case "pending": return member("pending", try await queue.all())
        case "counts": return JSON(of: try await queue.counts())
        case "row_state": return member("state", try await queue.rowState(try step.text("table"), key: try SQLValue(cell: step["key"])))
        case "verdict": return JSON(of: try await queue.verdict(id, timeout: timeout))
        case "verdicts": return JSON(of: try await queue.verdicts(limit))
        case "acknowledge": try await queue.acknowledgeVerdicts(through: Int64(step["through"].int ?? 0))
        case "retry": try await queue.retry(id)
        case "retry_chain": return member("ids", try await queue.retryChain(id))
        case "discard": try await queue.discard(id)
        case "discard_chain": return member("ids", try await queue.discardChain(id))
        case "perform": return try performed(try await perform(try step.text("action"), step["arguments"].object.mapValues { $0 }))
        case "perform_again": return try performed(try await queue.performAgain(id, step["arguments"].object.mapValues { $0 }))
        case "history": return member("history", try await queue.history(limit))
        case "undo": return JSON(of: try await queue.undo(id))
        case "redo": return JSON(of: try await queue.redo(id))
        case "prune":
            let age = step["age"].int.map { Duration.seconds($0) }
            return member("count", try await queue.prune(HistoryBounds(count: step["count"].int, bytes: step["bytes"].int, age: age)))
        case "reset": return JSON(of: try await storage.reset(keep: keeps[try step.text("keep")] ?? .pending, giveUp: step.texts("give_up")))
        case "import": return JSON(of: try await storage.importSynchro(URL(fileURLWithPath: try step.text("path"))))
        case "suspend": try await sync.suspend()
        case "resume": try await sync.resume()
        case "checkpoint": return JSON(of: try await storage.checkpoint(modes[try step.text("mode")] ?? .passive))
        case "diagnose": return member("bundle", try await storage.diagnose())
        default: throw Malformed("no such command: \(step.line)")
        }
        return ok
    }

    /// Waits for a sync state.
    private func reach(_ state: JSON) async throws -> JSON {
        let deadline = Date(timeIntervalSinceNow: 30)
        while true {
            // Read once: the next state may follow immediately.
            let seen = JSON(of: status)
            if seen["state"]["kind"] == state { return seen }
            guard Date() < deadline else { throw Malformed("never \(state.word), but \(seen)") }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func performed(_ performed: Performed) throws -> JSON {
        .object(["id": JSON(of: performed.id as Any), "value": try JSON(performed.json)])
    }
}

extension JSON {
    fileprivate var name: String { self["on"].text ?? "main" }

    fileprivate func text(_ name: String) throws -> String {
        guard let text = self[name].text else { throw Malformed("no \(name) in \(line)") }
        return text
    }

    fileprivate func texts(_ name: String) -> [String] { self[name].array.map(\.word) }

    fileprivate func params() throws -> SQLParameters { try self["params"].array.map { try SQLValue(cell: $0) } }

    fileprivate func statements() throws -> [Statement] {
        try self["statements"].array.map { Statement(try $0.text("sql"), try $0.params()) }
    }

    fileprivate func configuration() throws -> RejoinConfig {
        var configuration = RejoinConfig(path: URL(fileURLWithPath: try text("path")))
        let (more, milliseconds) = (self["config"], { (value: JSON) in value.int.map { Duration.milliseconds($0) } })
        configuration.userID = self["user"].text
        if self["schema"] != .null { configuration.schema = self["schema"].line }
        if let url = self["url"].text {
            configuration.server = URL(string: url)
            configuration.syncInterval = .seconds(3600)
            configuration.pushDebounce = .zero
        }
        configuration.policies = more["policies"].object.compactMapValues { policies[$0.word] }
        let budget = more["action_budget"]
        configuration.actionBudget = ActionBudget(
            run: milliseconds(budget["run"]), rebase: milliseconds(budget["rebase"]), bytes: budget["bytes"].int)
        configuration.pageSize = more["page_size"].int
        configuration.readers = more["readers"].int
        configuration.walLimit = more["wal_limit"].int
        return configuration
    }
}
