// ParkedWrites on conflicts and rejections of a real server.

import Foundation
import Rejoin
import RejoinUI
import Testing

@MainActor
@Suite struct ParkedWritesTests {
    private let folder: Folder
    private let server: StoryServer

    init() throws {
        folder = try Folder()
        server = try StoryServer()
    }

    /// A device whose edit of the task `a` is in conflict with an edit of another device.
    private func conflict(_ edit: Statement = "UPDATE task SET title = 'mine', note = 'my note'") async throws -> RejoinClient {
        let (tablet, phone) = (try await device("tablet", folder, server), try await device("phone", folder, server))
        try await tablet.insertTask("a", "first")
        for device in [tablet, phone] { try await device.settle() }
        try await tablet.execute("UPDATE task SET title = 'theirs', rank = 5")
        try await phone.execute(edit)
        for device in [tablet, phone] { try await device.settle() }
        try await tablet.shutdown()
        return phone
    }

    /// A device with a rejected task, a tag of that task, and an independent rejected task.
    private func rejection() async throws -> RejoinClient {
        let phone = try await device("phone", folder, server)
        try await phone.insertTask("a", "refused")
        try await phone.execute("INSERT INTO tag (id, task_id, name) VALUES ('g', 'a', 'home')")
        try await phone.insertTask("b", "refused")
        try await phone.settle()
        return phone
    }

    @Test func conflictShowsBothValuesOfEachColumn() async throws {
        let phone = try await conflict()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            #expect(parked.isLoading)
            await observed { parked.writes.count == 1 }
            let write = parked.writes[0]
            #expect(write.isConflict && write.isEditable && write.dependents == [] && !parked.isLoading && parked.error == nil)
            let row = try #require(write.rows.first)
            #expect(
                row.table == "task" && row.key == .text("a") && row.keyColumn == "id" && row.operation == .update && row.exists)
            let title = try #require(row.columns.first { $0.name == "title" })
            #expect(title.mine == .text("mine") && title.theirs == .text("theirs") && title.isConflict && title.differs)
            let note = try #require(row.columns.first { $0.name == "note" })
            #expect(note.mine == .text("my note") && note.theirs == .null && !note.isConflict)
            #expect(Set(row.columns.map(\.name)) == ["title", "note"], "what the user did not edit is not shown")
        }
    }

    @Test func keepMineReplacesTheServersValues() async throws {
        let phone = try await conflict()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            try await parked.keepMine(parked.writes[0].id)
            #expect(parked.writes == [] && parked.error == nil)
            try await phone.settle()
            #expect(try server.column("SELECT title || rank || note FROM task") == ["mine5my note"])
        }
    }

    @Test func takeTheirsKeepsTheServersValues() async throws {
        let phone = try await conflict()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            try await parked.takeTheirs(parked.writes[0].id)
            #expect(parked.writes == [])
            #expect(try await phone.queue.all() == [])
            #expect(try await phone.titles() == ["theirs"])
        }
    }

    @Test func valuesFollowLaterChangesOfTheRow() async throws {
        let phone = try await conflict()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            try server.write("UPDATE task SET title = 'newer', updated_at = '2999-01-01T00:00:00Z'")
            try await phone.settle()
            await observed { parked.writes.first?.rows[0].columns.first { $0.name == "title" }?.theirs == .text("newer") }
        }
    }

    @Test func queuedEditOfTheRowDoesNotHideTheServersValue() async throws {
        let phone = try await conflict()
        try await phone.execute("UPDATE task SET title = 'written since'")
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            let title = parked.writes[0].rows[0].columns.first { $0.name == "title" }
            #expect(title?.mine == .text("mine") && title?.theirs == .text("theirs"))
        }
    }

    @Test func deleteOfAChangedRowShowsWhatHasChanged() async throws {
        let phone = try await conflict("DELETE FROM task")
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            let row = try #require(parked.writes.first?.rows.first)
            #expect(row.operation == .delete && row.exists && !parked.writes[0].isEditable)
            let shown = row.columns.filter { $0.name != "updated_at" }
            #expect(Set(shown.map(\.name)) == ["title", "rank"] && shown.allSatisfy { $0.mine == nil && $0.theirs != nil })
        }
    }

    @Test func rejectionIsShownWithTheMutationsThatDependOnIt() async throws {
        let phone = try await rejection()
        let pending = try await phone.queue.all()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            #expect(parked.writes.map(\.id) == [pending[0].id, pending[2].id])
            #expect(parked.writes.map { $0.dependents.map(\.id) } == [[pending[1].id], []])
            #expect(parked.write(pending[1].id)?.id == pending[0].id && parked.write("other") == nil)
            let write = parked.writes[0]
            #expect(write.reason == .rejected && !write.isConflict && write.message?.isEmpty == false)
            #expect(!write.rows[0].exists && write.rows[0].columns.allSatisfy { $0.theirs == nil && $0.mine != .null })
        }
    }

    @Test func decisionIncludesTheDependents() async throws {
        let phone = try await rejection()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            let root = parked.writes[0].id
            try await parked.keepMine(root)
            #expect(parked.writes.map(\.dependents.count) == [0], "the independent one is left")
            #expect(try await phone.queue.counts().pending == 2)
            try await phone.settle()
            await observed { parked.write(root)?.dependents.count == 1 }  // The server rejects it again.
            try await parked.takeTheirs(root)
            #expect(parked.writes.count == 1)
            #expect(try await phone.queue.all().count == 1)
        }
    }

    @Test func editedFieldsAreSentWithTheDependents() async throws {
        let phone = try await rejection()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            let write = parked.writes[0]
            var fields = write.fields
            let (title, rank) = (ParkedField(row: 0, column: "title"), ParkedField(row: 0, column: "rank"))
            #expect(fields[title] == "refused")
            fields[title] = "corrected"
            if fields[rank] != nil {
                fields[rank] = "many"
                #expect(write.invalidFields(fields) == [rank: .integer])
                fields[rank] = "7"
            }
            #expect(write.invalidFields(fields) == [:])
            try await parked.edit(write.id, write.statements(fields))
            #expect(parked.writes.count == 1, "the independent one is left")
            try await watched { repeat { try await phone.settle() } while try await phone.queue.counts().pending > 0 }
            #expect(try server.column("SELECT title FROM task") == ["corrected"])
            #expect(try server.column("SELECT name FROM tag") == ["home"])
        }
    }

    @Test func editOfATransactionIsSent() async throws {
        let phone = try await rejection()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            try await parked.edit(parked.writes[1].id) { tx in
                let id = try await tx.query("SELECT id FROM task WHERE title = 'refused'", as: String.self)
                try await tx.execute("UPDATE task SET title = 'by hand' WHERE id = \(id[0])")
            }
            try await phone.settle()
            #expect(try server.column("SELECT id || title FROM task") == ["bby hand"])
        }
    }

    @Test func newVerdictAppearsByItself() async throws {
        let phone = try await device("phone", folder, server)
        try await phone.settle()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            #expect(parked.writes == [])
            try await phone.insertTask("a", "refused")
            try await phone.settle()
            await observed { parked.writes.map(\.reason) == [.rejected] }
            // A decision elsewhere.
            try await phone.queue.discardChain(parked.writes[0].id)
            await observed { parked.writes == [] }
        }
    }

    @Test func failedDecisionThrowsAndKeepsTheList() async throws {
        let phone = try await conflict()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            await #expect { try await parked.takeTheirs("no such id") } throws: { kind($0) == "invalidInput" }
            await #expect(throws: Own("stop")) { try await parked.edit(parked.writes[0].id) { _ in throw Own("stop") } }
            #expect(parked.writes.count == 1)
        }
    }

    @Test func listStaysWhileTheClientIsSuspended() async throws {
        let phone = try await conflict()
        try await watched { @MainActor in
            let parked = ParkedWrites(phone)
            await observed { !parked.isLoading }
            try await phone.sync.suspend()
            await parked.refresh()
            #expect(parked.writes.count == 1 && parked.error == nil)
            try await phone.shutdown()
            await parked.refresh()
            #expect(parked.writes.count == 1 && kind(parked.error) == "closed")
        }
    }

    @Test func releasedModelReleasesItsClient() async throws {
        var client: RejoinClient? = try await offlineClient(folder)
        let released = Weak(client)
        var parked = client.map { ParkedWrites($0) }
        let model = Weak(parked)
        client = nil
        try await watched { @MainActor [parked] in await observed { parked?.isLoading == false } }
        #expect(released.object != nil)
        parked = nil
        #expect(model.object == nil)
        try await watched { @MainActor in try await polled { released.object == nil } }
    }
}
