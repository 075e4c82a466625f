// The list, the sync status, and what the user has to decide.

import Rejoin
import RejoinUI
import SwiftUI

struct TodoScreen: View {
    @Environment(\.rejoin) private var database
    @State private var parked: PendingMutation?

    var body: some View {
        NavigationStack {
            VStack {
                NewTodo()
                TodoList()
            }
            .toolbar {
                ToolbarItem(placement: .primaryAction) {
                    SyncBadge { Task { parked = try await firstParked() } }
                }
            }
        }
        .sheet(item: $parked) { ParkedSheet($0.id) }
    }

    private func firstParked() async throws -> PendingMutation? {
        try await database.client.queue.all().first { $0.state == .parked }
    }
}
