// Decisions about parked mutations, and verdicts: one test per call, against a real server.

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

    /// A device with a rejected create and an edit that depends on it; their ids.
    private func refused() async throws -> (RejoinClient, create: String, edit: String) {
        let client = try await device("phone", folder, server)
        try await client.settle()
        let create = try await client.wrote("INSERT INTO task (id, user_id, title) VALUES ('a', 'u1', 'refused')")
        let edit = try await client.wrote("UPDATE task SET note = 'more'")
        try await client.settle()
        #expect(try await reasons(client) == [.rejected, .depends])
        return (client, create, edit)
    }

    private func reasons(_ client: RejoinClient) async throws -> [ParkReason?] { try await client.queue.all().map(\.reason) }

    @Test func cancelledEditChangesNothing() async throws {
        let (client, create, _) = try await refused()
        try await watched {
            let (inside, never) = (Signal(), Signal())
            let task = Task {
                try await client.queue.edit(create) { tx in
                    try await tx.execute("UPDATE task SET title = 'half'")
                    await inside.set()
                    await never.wait()
                }
            }
            await inside.wait()
            task.cancel()
            let reasons = try await reasons(client)  // The writer is free although the body still waits.
            #expect(reasons == [.rejected, .depends])
            await never.set()
            let result = await task.result
            #expect(throws: CancellationError.self) { try result.get() }
        }
    }

    @Test func discardOfAnUncertainMutationWithdrawsIt() async throws {
        let line = Losing()
        let client = try await device("phone", folder, server) { $0.transport = line }
        try await client.settle()
        line.loses(true)
        let id = try await client.wrote("INSERT INTO task (id, user_id, title) VALUES ('a', 'u1', 'regretted')")
        #expect(kind(await thrown { try await client.settle() }) == "offline")
        try await client.stop()
        #expect(try await client.queue.pending().map(\.state) == [.uncertain])
        #expect(try await client.queue.parked() == [])
        #expect(try server.column("SELECT title FROM task") == ["regretted"], "the device has no verdict")
        try await client.queue.discard(id)
        #expect(try await client.titles() == [], "at once")
        line.loses(false)
        try await client.settle()
        #expect(try server.column("SELECT id FROM task WHERE deleted_at IS NULL") == [])
        let verdict = try #require(try await client.queue.verdicts().entries.first)
        #expect(verdict.id == id && verdict.kind == .withdrawn && verdict.becauseOf != nil)
    }

    /// A transport that can lose the response to a push.
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

    @Test func verdictsRepeatUntilAcknowledgedOncePerStream() async throws {
        let (client, create, edit) = try await refused()
        let news = try await client.queue.verdicts()
        #expect(news.missed == 0 && news.entries.map(\.id) == [create, edit])
        #expect(news.entries.map(\.kind) == [.parked, .parked] && news.entries.map(\.reason) == [.rejected, .depends])
        let (first, second) = (news.entries[0], news.entries[1])
        #expect(first.detail != nil && first.attempt == 1 && abs(first.at.timeIntervalSinceNow) < 60)
        #expect(second.becauseOf == create && second.action == nil)
        #expect(try await client.queue.verdicts(1).entries == [first])
        #expect(kind(await thrown { _ = try await client.queue.verdicts(-1) }) == "invalidInput")
        try await client.queue.acknowledgeVerdicts(through: first.number)

        let id = try await watched {
            var (received, id) = ([VerdictEntry](), "")
            for await news in client.queue.watchVerdicts() {
                received += news.entries
                if received.count == 2 { break }
                id = try await client.wrote("INSERT INTO task (id, user_id, title) VALUES ('b', 'u1', 'good')")
                try await client.settle()
            }
            #expect(received.map(\.id) == [edit, id] && received.map(\.kind) == [.parked, .accepted])
            return id
        }
        #expect(try await client.queue.verdicts().entries.map(\.id) == [edit, id], "reported is not acknowledged")
        try await client.shutdown()
        let again = try await device("phone", folder, server)
        try await watched {
            for await news in again.queue.watchVerdicts() {
                #expect(news.entries.map(\.id) == [edit, id], "also after the next start")
                break
            }
        }
    }

    @Test func verdictStreamEndsWithItsClientOrItsTask() async throws {
        let (client, _, _) = try await refused()
        try await watched {
            let received = Signal()
            let task = Task { for await _ in client.queue.watchVerdicts() { await received.set() } }
            await received.wait()
            task.cancel()
            await task.value
            let again = Signal()
            let ended = Task { for await _ in client.queue.watchVerdicts() { await again.set() } }
            await again.wait()
            try await client.shutdown()
            await ended.value
        }
    }

    @Test func slowReaderGetsMergedVerdictsAndTheMissedCount() {
        func part(_ numbers: Range<Int>, missed: Int) -> Verdicts {
            let entries = numbers.map {
                VerdictEntry(
                    number: Int64($0), id: "\($0)", attempt: 1, kind: .accepted, reason: nil, becauseOf: nil, action: nil, detail: nil,
                    at: .distantPast)
            }
            return Verdicts(entries: entries, missed: missed)
        }
        let few = Verdicts(together: [part(0..<3, missed: 2), part(3..<5, missed: 0)])
        #expect(few.entries.map(\.number) == [0, 1, 2, 3, 4] && few.missed == 2)
        let many = Verdicts(together: [part(0..<6_000, missed: 1), part(6_000..<12_000, missed: 0)])
        #expect(many.entries.count == 10_000 && many.entries.last?.number == 11_999 && many.missed == 2_001)
    }
}
