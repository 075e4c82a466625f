// What an app decides of what is parked, and how it hears of ends: a test for each call, with a real server.

import Foundation
@testable import Rejoin
import Testing

@Suite struct DecideTests {
    private let folder: Folder
    private let server: StoryServer

    init() throws {
        folder = try Folder()
        server = try StoryServer()
    }

    /// A device of which a create was refused, with an edit upon it; their names.
    private func refused() async throws -> (RejoinClient, create: String, edit: String) {
        let client = try await device("phone", folder, server)
        try await client.settle()
        let create = try await client.wrote("INSERT INTO task (id, user_id, title) VALUES ('a', 'u1', 'refused')")
        let edit = try await client.wrote("UPDATE task SET note = 'more'")
        try await client.settle()
        #expect(try await reasons(client) == [.rejected, .depends])
        return (client, create, edit)
    }

    private func reasons(_ client: RejoinClient) async throws -> [ParkReason?] { try await client.pending().map(\.reason) }

    @Test func anEditOfARefusedCreateCannotBeRetriedAloneAndTheCreateIsNamed() async throws {
        let (client, create, edit) = try await refused()
        guard case RejoinError.standsOn(_, create)? = await thrown({ try await client.retry(edit) }) else {
            throw Own("the create is not named")
        }
        #expect(try await client.retryChain(create) == [create, edit])
        #expect(try await reasons(client) == [nil, nil], "offered again")
        #expect(kind(await thrown { try await client.retry(create) }) == "invalidInput") // It is not parked.
        #expect(kind(await thrown { try await client.retryChain("nonsense") }) == "invalidInput")
    }

    @Test func aConflictEndsByTheAppsWord() async throws {
        let client = try await device("phone", folder, server)
        try await client.insertTask("a", "first")
        try await client.settle()
        try server.write("UPDATE task SET title = 'theirs' WHERE id = 'a'")
        let mine = try await client.wrote("UPDATE task SET title = 'mine'")
        try await client.settle()
        #expect(try await reasons(client) == [.conflicted])
        #expect(try await client.titles() == ["theirs"])
        try await client.retry(mine)
        #expect(try await client.titles() == ["mine"])
        try await client.settle()
        #expect(try server.column("SELECT title FROM task") == ["mine"])
        let told = try await client.verdicts().entries.filter { $0.id == mine }
        #expect(told.map(\.kind) == [.parked, .accepted] && told.map(\.attempt) == told.map(\.attempt).sorted())
        #expect(told[0].detail?.contains("theirs") == true, "both rows are told")
    }

    @Test func aRefusedWriteIsMendedByCodeThatWaitsAndItsChainGoesAlong() async throws {
        let (client, create, edit) = try await refused()
        await #expect(throws: Own("not so")) {
            try await client.edit(create) { tx in
                try await tx.execute("UPDATE task SET title = 'half'")
                throw Own("not so")
            }
        }
        #expect(try await reasons(client) == [.rejected, .depends])
        let mended = try #require(
            try await client.edit(create) { tx in
                #expect(try await tx.query("SELECT title FROM task", as: String.self) == ["refused"])
                #expect(kind(await thrown { try await client.edit(create) { _ in } }) == "invalidInput")
                try await tx.execute("UPDATE task SET title = ?", ["good"])
            })
        #expect(mended != create)
        #expect(kind(await thrown { try await client.edit(create) { _ in } }) == "invalidInput") // It is another one now.
        #expect(try await client.retryChain(mended) == [edit])
        try await client.settle()
        #expect(try server.column("SELECT title || ' ' || note FROM task") == ["good more"])
        #expect(try await client.pending().isEmpty)
    }

    @Test func cancellingAnEditChangesNothing() async throws {
        let (client, create, _) = try await refused()
        try await watched {
            let (inside, never) = (Signal(), Signal())
            let task = Task {
                try await client.edit(create) { tx in
                    try await tx.execute("UPDATE task SET title = 'half'")
                    await inside.set()
                    await never.wait()
                }
            }
            await inside.wait()
            task.cancel()
            let reasons = try await reasons(client) // The writer is free while the body still waits.
            #expect(reasons == [.rejected, .depends])
            await never.set()
            let result = await task.result
            #expect(throws: CancellationError.self) { try result.get() }
        }
    }

    @Test func aRefusedWriteIsMendedByStatements() async throws {
        let (client, create, _) = try await refused()
        let broken = await thrown { try await client.edit(create, [Statement("UPDATE task SET nothing = 1")]) }
        #expect(kind(broken) == "invalidInput")
        let mended = try await client.edit(create, [Statement("UPDATE task SET title = ?", ["good"])])
        #expect(mended != nil && mended != create)
        #expect(try await client.titles() == ["good"])
        #expect(try await client.edit(mended!, [Statement("DELETE FROM task")]) == nil, "nothing is left")
    }

    @Test func aChainIsGivenUpTogether() async throws {
        let (client, create, edit) = try await refused()
        #expect(try await client.discardChain(create) == [create, edit])
        #expect(try await client.pending().isEmpty)
        #expect(kind(await thrown { try await client.discardChain(create) }) == "invalidInput")
    }

    @Test func whatWasSentAndHasNoVerdictIsGivenUpAndWithdrawn() async throws {
        let line = Losing()
        let client = try await device("phone", folder, server) { $0.transport = line }
        try await client.settle()
        line.loses(true)
        let id = try await client.wrote("INSERT INTO task (id, user_id, title) VALUES ('a', 'u1', 'regretted')")
        #expect(kind(await thrown { try await client.settle() }) == "offline")
        try await client.stop()
        #expect(try await client.pending().map(\.state) == [.uncertain])
        #expect(try server.column("SELECT title FROM task") == ["regretted"], "nobody here knows it")
        try await client.discard(id)
        #expect(try await client.titles() == [], "at once")
        line.loses(false)
        try await client.settle()
        #expect(try server.column("SELECT id FROM task WHERE deleted_at IS NULL") == [])
        let told = try #require(try await client.verdicts().entries.first)
        #expect(told.id == id && told.kind == .withdrawn && told.becauseOf != nil)
    }

    /// A line on which what the server says to a push can be lost.
    private final class Losing: HTTPTransport {
        private let line = Forwarding()
        private let isLosing = Locked(false)

        func loses(_ loses: Bool) { isLosing.with { $0 = loses } }

        func disconnect() {}

        func send(_ request: HTTPRequest) async throws -> HTTPResponse {
            let answer = try await line.send(request)
            if isLosing.with({ $0 }), request.url.path.contains("push") { throw Own("the answer is lost") }
            return answer
        }
    }

    @Test func verdictsAreToldUntilTheyAreAcknowledgedAndEachOnceToAStream() async throws {
        let (client, create, edit) = try await refused()
        let news = try await client.verdicts()
        #expect(news.missed == 0 && news.entries.map(\.id) == [create, edit])
        #expect(news.entries.map(\.kind) == [.parked, .parked] && news.entries.map(\.reason) == [.rejected, .depends])
        let (first, second) = (news.entries[0], news.entries[1])
        #expect(first.detail != nil && first.attempt == 1 && abs(first.date.timeIntervalSinceNow) < 60)
        #expect(second.becauseOf == create && second.action == nil)
        #expect(try await client.verdicts(1).entries == [first])
        #expect(kind(await thrown { _ = try await client.verdicts(-1) }) == "invalidInput")
        try await client.acknowledgeVerdicts(through: first.number)

        let id = try await watched {
            var (told, id) = ([VerdictEntry](), "")
            for await news in client.watchVerdicts() {
                told += news.entries
                if told.count == 2 { break }
                id = try await client.wrote("INSERT INTO task (id, user_id, title) VALUES ('b', 'u1', 'good')")
                try await client.settle()
            }
            #expect(told.map(\.id) == [edit, id] && told.map(\.kind) == [.parked, .accepted])
            return id
        }
        #expect(try await client.verdicts().entries.map(\.id) == [edit, id], "told is not known")
        try await client.shutdown()
        let again = try await device("phone", folder, server)
        try await watched {
            for await news in again.watchVerdicts() {
                #expect(news.entries.map(\.id) == [edit, id], "also after the next start")
                break
            }
        }
    }

    @Test func aStreamOfVerdictsEndsWithItsClientAndWithItsTask() async throws {
        let (client, _, _) = try await refused()
        try await watched {
            let told = Signal()
            let task = Task { for await _ in client.watchVerdicts() { await told.set() } }
            await told.wait()
            task.cancel()
            await task.value
            let again = Signal()
            let ended = Task { for await _ in client.watchVerdicts() { await again.set() } }
            await again.wait()
            try await client.shutdown()
            await ended.value
        }
    }

    @Test func aReaderThatLagsFarBehindIsToldTogetherAndHowMuchItMissed() {
        func part(_ numbers: Range<Int>, missed: Int) -> Verdicts {
            let entries = numbers.map {
                VerdictEntry(
                    number: Int64($0), id: "\($0)", attempt: 1, kind: .accepted, reason: nil, becauseOf: nil, action: nil, detail: nil,
                    date: .distantPast)
            }
            return Verdicts(entries: entries, missed: missed)
        }
        let few = Verdicts(together: [part(0..<3, missed: 2), part(3..<5, missed: 0)])
        #expect(few.entries.map(\.number) == [0, 1, 2, 3, 4] && few.missed == 2)
        let many = Verdicts(together: [part(0..<6_000, missed: 1), part(6_000..<12_000, missed: 0)])
        #expect(many.entries.count == 10_000 && many.entries.last?.number == 11_999 && many.missed == 2_001)
    }
}
