// Actions that run again on newer rows, against a real server.

import Foundation
@testable import Rejoin
import Testing

@Suite struct ReplayTests {
    private let folder: Folder
    private let server: StoryServer

    init() throws {
        folder = try Folder()
        server = try StoryServer()
    }

    private struct Raise: Codable, Sendable { let id: String, by: Int }

    /// A device with an action in code that raises ranks; `before` runs first and gets the number of the run.
    private func raiser(
        _ name: String, budget: Duration = .seconds(30), _ before: @escaping @Sendable (Int) async throws -> Void = { _ in }
    ) async throws -> RejoinClient {
        let runs = Locked(0)
        var actions = Actions()
        let parameters: [ActionParameter] = [.init("id", .text), .init("by", .integer)]
        actions.handler("raise", as: Raise.self, parameters: parameters) { context, raise in
            let run = runs.with { count in
                count += 1
                return count
            }
            try await before(run)
            let rank = try await context.query("SELECT rank FROM task WHERE id = ?", [raise.id], as: Int.self)[0] + raise.by
            try await context.execute("UPDATE task SET rank = ? WHERE id = ?", [rank, raise.id])
            return rank
        }
        let client = try await device(name, folder, server) {
            $0.actions = actions
            $0.actionBudget.rebase = budget
        }
        try await client.settle()
        return client
    }

    /// Two devices that both raised the initial 0 while offline; the first one has synced. Returns the second.
    private func raisedAtOnce(
        budget: Duration = .seconds(30), _ before: @escaping @Sendable (Int) async throws -> Void = { _ in }
    ) async throws -> RejoinClient {
        let one = try await raiser("one")
        try await one.insertTask("a", "shared")
        try await one.settle()
        let two = try await raiser("two", budget: budget, before)
        #expect(try await one.perform("raise", Raise(id: "a", by: 10)).value() == 10)
        #expect(try await two.perform("raise", ["id": "a", "by": 100]).value() == 100)
        try await one.settle()
        #expect(try server.column("SELECT rank FROM task") == ["10"])
        return two
    }

    private func ranks(_ client: RejoinClient) async throws -> [Int] { try await client.query("SELECT rank FROM task", as: Int.self) }

    @Test func endlessCodeDelaysAPullByItsRebaseBudgetOnly() async throws {
        let never = Signal()
        let two = try await raisedAtOnce(budget: .milliseconds(300)) { run in if run > 1 { await never.wait() } }
        try await watched { try await two.settle() }
        // The server reported a conflict for the recorded writes, so they are not sent again unchanged.
        let parked = try #require(try await two.queue.all().first)
        #expect(parked.state == .parked && parked.reason == .conflicted)
        #expect(try await ranks(two) == [10])
        await never.set()
    }

    @Test func clientCallByReRunCodeIsRejectedAtOnce() async throws {
        let client = Locked<RejoinClient?>(nil)
        let two = try await raisedAtOnce { run in
            guard run > 1, let client = client.with({ $0 }) else { return }
            let error = await thrown { try await client.execute("DELETE FROM task") }
            if kind(error) != "invalidInput" { throw Own("it was let in: \(String(describing: error))") }
        }
        client.with { $0 = two }
        try await watched { try await two.settle() }
        client.with { $0 = nil }
        #expect(try server.column("SELECT rank FROM task") == ["110"])
    }
}
