// LiveSubscription on the real engine.

import Foundation
import Rejoin
import Testing

@testable import RejoinUI

@MainActor
@Suite struct LiveSubscriptionTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    @Test func subscriptionIsHeldByTheModelAndFollowsItsStatus() async throws {
        let server = try StoryServer()
        let client = try await device("phone", folder, server)
        try await watched { @MainActor in
            var model: LiveSubscription? = LiveSubscription("project", ["project": 42], on: client)
            #expect(model?.status == .waiting)
            try await polled { client.sync.subscriptions.contains { $0.ends == nil } }
            try await client.settle()
            await observed { [model] in if case .refused = model?.status { true } else { false } }
            model = nil
            try await polled { client.sync.subscriptions.allSatisfy { $0.ends != nil } }
        }
    }

    @Test func statusIsCurrentWhenTheRowsOfTheStreamAreHere() async throws {
        let server = try StoryServer()
        try server.write(
            """
            INSERT INTO board_member VALUES ('u1', 7, 1);
            INSERT INTO card (id, board, title) VALUES ('c7', 7, 'here'), ('c8', 8, 'not here');
            """)
        let client = try await device("phone", folder, server)
        try await watched { @MainActor in
            let model = LiveSubscription("board", ["board": 7], on: client)
            try await polled { !client.sync.subscriptions.isEmpty }
            try await client.settle()
            await observed { model.status == .current }
            let ids = try await client.query("SELECT id FROM card").map { try $0.get(0, as: String.self) }
            #expect(ids == ["c7"])
        }
    }

    @Test func subscriptionBeginsAfterSuspensionAndAnInvalidOneIsAnError() async throws {
        let client = try await offlineClient(folder)
        try await watched { @MainActor in
            try await client.sync.suspend()
            let model = LiveSubscription("project", ["project": 42], on: client)
            try await client.sync.resume()
            try await polled { !client.sync.subscriptions.isEmpty }
            #expect(model.error == nil)
            let invalid = LiveSubscription("", on: client)
            await observed { invalid.error != nil }
            #expect(kind(invalid.error) == "invalidInput" && invalid.status == .waiting)
        }
    }
}
