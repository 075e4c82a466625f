// What the screens read and write: places, visits, the session. No user interface.
//
// Each write is one mutation and works offline. What the server rejects is in the queue, parked.

import Foundation
import Observation
import Rejoin
import RejoinUI

/// A place to inspect. `state` is `synced`, `pending`, `sent`, `uncertain` or `parked`.
struct Place: Decodable, Sendable, Identifiable, Equatable {
    let id: String, name: String, country: String, done: Bool, state: String

    /// Places whose name contains a text: first those with unsent or parked edits, then by name.
    static func named(_ text: String) -> Statement {
        """
        SELECT id, name, ifnull(country, '') AS country, status IS 'inspected' AS done, rejoin_row_state('places', id) AS state
        FROM places WHERE instr(lower(name), lower(\(text))) > 0 ORDER BY state = 'synced', name LIMIT 200
        """
    }
}

@MainActor @Observable
final class Inspections {
    let store: RejoinStore
    /// Whether a token is stored; `nil` until ``restore()`` has read it.
    private(set) var isSignedIn: Bool?
    /// Whether ``setOffline(_:)`` has simulated the loss of the network.
    private(set) var isOffline = false
    /// What failed last.
    private(set) var failure: String?
    /// Whether the failure is shown; false dismisses it.
    var isFailureShown: Bool {
        get { failure != nil }
        set { if !newValue { failure = nil } }
    }

    @ObservationIgnored private let tokens = TokenStore()

    init() {
        // The demo's tokens cannot be renewed: after a rejection, the status asks the user to sign in again.
        let session = TokenClosure { [tokens] _ in try tokens.read() }
        // The simulator has the network of the Mac that it runs on.
        let server = URL(string: "http://127.0.0.1:7878")
        store = RejoinStore("todo.db", server: server, schema: .bundled("schema"), tokens: session)
    }

    /// Runs a call of a screen. If it fails, nothing was changed, and the message is shown.
    func act(_ call: @escaping @MainActor () async throws -> Void) {
        Task { do { try await call() } catch { failure = "\(error)" } }
    }

    func restore() async {
        do { isSignedIn = try tokens.read() != nil } catch {
            isSignedIn = false
            failure = "\(error)"
        }
    }

    func signIn(_ token: String) async throws {
        try tokens.save(token.trimmingCharacters(in: .whitespacesAndNewlines))
        isSignedIn = true
        try await store.withClient { client in
            try await client.start()
            try await client.sync.credentialsChanged()
        }
    }

    /// Signs out and empties the file, unless mutations would be lost. Returns their number; 0 if the user is signed out.
    func signOut(discardingUnsent: Bool) async throws -> Int {
        let unsent = try await store.withClient { client in
            try await client.stop()
            let unsent = try await client.queue.all().map(\.id)
            if unsent.isEmpty || discardingUnsent {
                try await client.storage.reset(keep: .local, giveUp: unsent)
                return 0
            }
            try await client.start()
            return unsent.count
        }
        if unsent == 0 {
            try tokens.clear()
            isSignedIn = false
        }
        return unsent
    }

    func add(_ name: String) async throws {
        try await store.execute("INSERT INTO places (id, name, status) VALUES (rejoin_new_id(), \(name), 'open')")
    }

    func setDone(_ place: Place, _ done: Bool) async throws {
        try await store.execute("UPDATE places SET status = \(done ? "inspected" : "open") WHERE id = \(place.id)")
    }

    /// Deletes a place with its visits and their notes: one mutation.
    func delete(_ place: Place) async throws {
        try await store.batch([
            "DELETE FROM notes WHERE visit_id IN (SELECT id FROM visits WHERE place_id = \(place.id))",
            "DELETE FROM visits WHERE place_id = \(place.id)",
            "DELETE FROM places WHERE id = \(place.id)",
        ])
    }

    /// The server accepts scores from 0 to 100 only; this device does not have that rule.
    func addVisit(_ place: Place, score: Int) async throws {
        try await store.execute(
            """
            INSERT INTO visits (id, place_id, visited_at, score)
            VALUES (rejoin_new_id(), \(place.id), strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), \(score))
            """)
    }

    /// For a demonstration: the engine gets the report that there is no network. The next change of the real one overrides it.
    func setOffline(_ isOffline: Bool) async throws {
        try await store.client.sync.setNetwork(online: !isOffline)
        self.isOffline = isOffline
    }
}
