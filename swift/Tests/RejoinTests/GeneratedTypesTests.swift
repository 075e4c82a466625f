// The output of `rejoin generate` for cli/tests/schema.json, used on a client.

import Foundation
@testable import Rejoin
import Testing

@Suite struct GeneratedTypesTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private let full = PlacesRow(
        id: "p1", name: "Quay $1 \"north\"", class_: "harbour", firstName: "na\u{ef}ve", _2nd: .min, in_: true, open_: false, height: 0.1,
        price: "12.50", visits: .max, photo: Data([0, 255]), seenAt: "2026-01-02T03:04:05.000006Z", day: "2026-01-02", at: "03:04:05",
        tags: #"["a","b"]"#, extra: #"{"n":1}"#, cost: "5 $")
    private let sparse = PlacesRow(id: "p2", name: "", in_: false, height: -1.5, visits: 0)

    private func client(_ build: (inout Actions) -> Void = { _ in }) async throws -> RejoinClient {
        try await offlineClient(folder) {
            $0.schema = generatedFrom("schema.json")
            build(&$0.actions)
        }
    }

    private func places(_ client: RejoinClient) async throws -> [PlacesRow] {
        try await client.query("SELECT * FROM \(sql: PlacesRow.table) ORDER BY id", as: PlacesRow.self)
    }

    @Test func rowIsInsertedReadUpdatedAndDeleted() async throws {
        let client = try await client()
        #expect(try await client.execute(full.insert()) == 1)
        #expect(try await client.execute(sparse.insert()) == 1)
        #expect(try await places(client) == [full, sparse])

        var changed = full
        (changed.class_, changed.in_, changed.open_, changed.visits, changed.photo) = (nil, false, true, 1, nil)
        #expect(try await client.execute(changed.update()) == 1)
        #expect(try await places(client) == [changed, sparse])

        #expect(try await client.execute(PlacesRow.delete(id: "p1")) == 1)
        #expect(try await places(client) == [sparse])
        #expect(try await client.query("SELECT * FROM \(sql: CountriesRow.table)", as: CountriesRow.self) == [])
    }

    @Test func statementRunsInATransactionAnActionAndABatch() async throws {
        let client = try await client { actions in
            actions.handler("mark", as: NoArguments.self) { context, _ in try await context.execute(FavoriteMarksRow(id: "m1").insert()) }
        }
        let counts = try await client.transaction { tx in
            try await [tx.execute(full.insert()), tx.execute(PlacesRow.delete(id: "p1")), tx.execute(full.update())]
        }
        #expect(counts == [1, 1, 0])
        #expect(try await client.perform("mark").value(as: Int.self) == 1)
        #expect(try await client.batch([full.insert(), FavoriteMarksRow.delete(id: "m1")]) == [1, 1])
        #expect(try await places(client) == [full])
    }

    @Test func functionOfADeclaredActionPerformsIt() async throws {
        let client = try await client { actions in
            actions.declare(generatedFrom("take_part.json"))
            actions.declare(generatedFrom("reset_all.json"))
        }
        try await client.execute(sparse.insert())
        let taken = try await client.takePart(part: "p2", quantity: .max, class_: true, photo: Data([0, 255]), extra: ["x": [1]])
        #expect(try taken.value(as: [String: Int64].self) == ["visits": .max])
        var visited = sparse
        visited.visits = .max
        #expect(try await places(client) == [visited])

        try await client.resetAll()
        #expect(try await places(client) == [sparse])
        #expect(try await client.queue.all().map(\.action) == [nil, "take_part", "reset-all"])
    }

    private struct Given: Codable, Sendable, Equatable {
        let part: String, quantity: Int64, `class`: Bool?, photo: Data?, extra: [Int]?
    }

    @Test func functionOfAnActionPassesEveryKindOfArgument() async throws {
        let given = Locked<[Given]>([])
        let parameters: [ActionParameter] = [
            .init("part", .text), .init("quantity", .integer), .init("class", .boolean, optional: true),
            .init("photo", .blob, optional: true), .init("extra", .json, optional: true),
        ]
        let client = try await client { actions in
            actions.handler("take_part", as: Given.self, parameters: parameters) { _, arguments in given.with { $0.append(arguments) } }
        }
        try await client.takePart(part: "$part", quantity: .min, class_: false, photo: Data([0, 255]), extra: [1])
        try await client.takePart(part: "p1", quantity: 1)
        let all = Given(part: "$part", quantity: .min, class: false, photo: Data([0, 255]), extra: [1])
        let few = Given(part: "p1", quantity: 1, class: nil, photo: nil, extra: nil)
        #expect(given.with { $0 } == [all, few])
    }

    @Test func functionOfAStreamSubscribesToIt() async throws {
        let client = try await client()
        let harbour = try await client.sync.subscribeHarbour2(class_: "$fishing", ttl_: .min, ttl: .seconds(7_200), priority: 1)
        let everything = try await client.sync.subscribeEverything()
        let parameters = ["class": "$fishing", "ttl": String(Int64.min)]
        #expect(client.sync.subscriptions == [
            SubscribedStream(stream: "harbour-2", parameters: parameters, priority: 1, ttl: .seconds(7_200), ends: nil, status: .waiting),
            SubscribedStream(stream: "everything", parameters: [:], priority: 3, ttl: .seconds(86_400), ends: nil, status: .waiting),
        ])
        for held in [harbour, everything] { held.release() }
    }
}

/// The text of an input of `rejoin generate` for RejoinSchema.swift.
func generatedFrom(_ name: String) -> String {
    let file = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../cli/tests/\(name)").standardized
    return try! String(contentsOf: file, encoding: .utf8)
}
