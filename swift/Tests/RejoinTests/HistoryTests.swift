// What was accepted and is taken back, and a file that begins anew: a test for each call, with a real server.

import Foundation
@testable import Rejoin
import Testing

@Suite struct HistoryTests {
    private let folder: Folder
    private let server: StoryServer

    init() throws {
        folder = try Folder()
        server = try StoryServer()
    }

    /// A device whose task `a` was accepted as `one`.
    private func accepted() async throws -> (RejoinClient, String) {
        let client = try await device("phone", folder, server)
        let id = try await client.wrote("INSERT INTO task (id, user_id, title) VALUES ('a', 'u1', 'one')")
        try await client.settle()
        return (client, id)
    }

    @Test func whatWasAcceptedIsShownTakenBackAndDoneAgain() async throws {
        let (client, _) = try await accepted()
        let waiting = try await client.wrote("UPDATE task SET title = 'two'")
        #expect(try await client.undo(waiting) == .givenUp)
        #expect(try await client.titles() == ["one"])

        let edit = try await client.wrote("UPDATE task SET title = 'two'")
        try await client.settle()
        let newest = try #require(try await client.history(1).first)
        #expect(newest.id == edit && newest.undoes == nil && newest.action == nil && newest.attempt == 1)
        #expect(newest.accepted >= newest.written && abs(newest.accepted.timeIntervalSinceNow) < 60 && newest.seq > 0)
        #expect(newest.rows.map(\.operation) == [.update])
        #expect(newest.rows[0].columns.first { $0.name == "title" } == PendingColumn(name: "title", old: .text("one"), new: .text("two")))

        guard case .by(let undo) = try await client.undo(edit) else { throw Own("nothing takes it back") }
        #expect(try await client.titles() == ["one"], "at once")
        try await client.settle()
        #expect(try server.column("SELECT title FROM task") == ["one"])
        #expect(try await client.history(1).map(\.undoes) == [edit] && undo != edit)
        guard case .by = try await client.redo(edit) else { throw Own("nothing does it again") }
        try await client.settle()
        #expect(try server.column("SELECT title FROM task") == ["two"])
        #expect(kind(await thrown { try await client.redo(edit) }) == "invalidInput") // It is done again already.
        #expect(kind(await thrown { _ = try await client.history(-1) }) == "invalidInput")
    }

    @Test func whatHasChangedSinceIsNotTakenBackAndTheRowsAreShown() async throws {
        let (client, id) = try await accepted()
        try server.write("UPDATE task SET title = 'theirs' WHERE id = 'a'")
        try await client.settle()
        guard case RejoinError.changed(let reason, let rows)? = await thrown({ try await client.undo(id) }) else {
            throw Own("it was taken back")
        }
        #expect(rows.map(\.table) == ["task"] && rows[0].key == .text("a") && rows[0].columns == ["title"] && !reason.isEmpty)
        #expect(rows[0].wrote?["title"] == .text("one") && rows[0].present?["title"] == .text("theirs"))
        #expect(try await client.titles() == ["theirs"])
        #expect(try await client.pending().isEmpty)
    }

    @Test func whatIsForgottenCannotBeTakenBack() async throws {
        let (client, id) = try await accepted()
        for bounds in [HistoryBounds(count: -1), HistoryBounds(bytes: -1), HistoryBounds(age: .milliseconds(-1))] {
            #expect(kind(await thrown { try await client.prune(bounds) }) == "invalidInput", "\(bounds)")
        }
        #expect(try await client.prune(HistoryBounds(age: .milliseconds(3_600_500))) == 0)
        #expect(try await client.history().map(\.id) == [id])
        #expect(try await client.prune(HistoryBounds(count: 0)) == 1)
        #expect(try await client.history().isEmpty)
        #expect(kind(await thrown { try await client.undo(id) }) == "invalidInput")
    }

    @Test func aFileBeginsAnewWhenAllThatWaitsIsNamed() async throws {
        let (client, _) = try await accepted()
        try await client.createTable("draft", "id TEXT PRIMARY KEY")
        try await client.execute("INSERT INTO draft VALUES ('d')")
        let id = try await client.wrote("UPDATE task SET title = 'unsent'")
        guard case RejoinError.unsent(_, 1)? = await thrown({ try await client.reset(keep: .nothing) }) else {
            throw Own("work was given up unnamed")
        }
        #expect(try await client.titles() == ["unsent"])
        #expect(kind(await thrown { try await client.reset(keep: .pending, giveUp: [id]) }) == "invalidInput")
        #expect(kind(await thrown { try await client.reset(keep: .local, giveUp: ["nonsense"]) }) == "invalidInput")

        let gone = try await client.reset(keep: .local, giveUp: [id])
        #expect(gone.givenUp.map(\.id) == [id] && gone.rows == 1 && gone.localRows == 0)
        #expect(gone.givenUp[0].rows[0].columns.first?.new == .text("unsent"))
        #expect(try await client.titles() == [])
        #expect(try await client.query("SELECT id FROM draft", as: String.self) == ["d"])
        #expect(try await client.reset(keep: .nothing).localRows == 1)
        try await client.settle()
        #expect(try await client.titles() == ["one"], "the server's rows come with the next sync")
    }

    @Test func whatWaitsStaysWhenTheRowsAreFetchedAnew() async throws {
        let (client, _) = try await accepted()
        let id = try await client.wrote("UPDATE task SET note = 'unsent'")
        #expect(try await client.reset(keep: .pending).givenUp.isEmpty)
        #expect(try await client.pending().map(\.id) == [id])
        try await client.settle()
        #expect(try server.column("SELECT title || ' ' || note FROM task") == ["one unsent"])
    }

    @Test func theNextUserTakesTheFileWhenTheFormersWorkWasGivenUp() async throws {
        let (former, _) = try await accepted()
        _ = try await former.wrote("UPDATE task SET note = 'unsent'")
        try await former.shutdown()
        let client = try await device("phone", folder, server) { $0.userID = "u2" }
        #expect(kind(await thrown { try await client.syncAndWait(timeout: .seconds(30)) }) == "wrongUser")
        try await client.stop()
        #expect(kind(await thrown { try await client.reset(keep: .local) }) == "unsent")
        try await client.reset(keep: .local, giveUp: try await client.pending().map(\.id))
        try await client.execute("INSERT INTO task (id, user_id, title) VALUES ('b', 'u2', 'of the next')")
        try await client.settle()
        #expect(try await client.titles() == ["of the next"])
        #expect(try server.column("SELECT user_id || coalesce(note, '') FROM task ORDER BY id") == ["u1", "u2"])
    }

    @Test func aDeviceHasAPolicyOfItsOwnForATable() async throws {
        let (one, _) = try await accepted()
        for (policy, title) in [(ConflictPolicy.rebase, "mine"), (.acceptServer, "theirs")] {
            let two = try await device("\(policy)", folder, server) { $0.policies = ["task": policy] }
            try await two.settle()
            try await one.execute("UPDATE task SET title = 'theirs'")
            try await one.settle()
            try await two.execute("UPDATE task SET title = 'mine'")
            try await two.settle()
            #expect(try server.column("SELECT title FROM task") == [title], "\(policy)")
            try await one.settle()
            try await one.execute("UPDATE task SET title = 'between'")
            try await one.settle()
        }
    }
}
