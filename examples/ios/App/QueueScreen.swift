// The queue: what waits for the server, what waits for the user, the offline switch and sign-out. A parked mutation opens in
// the sheet of RejoinUI, where the user decides.

import Rejoin
import RejoinUI
import SwiftUI

struct QueueScreen: View {
    let inspections: Inspections
    let review: (PendingMutation) -> Void
    @State private var parked: ParkedWrites?
    @State private var monitor: SyncMonitor?
    @State private var unsent = 0
    @State private var isAsking = false

    var body: some View {
        List {
            Section("For a demonstration: the app behaves as without a network") {
                Button(inspections.isOffline ? "Go online" : "Go offline") {
                    inspections.act { try await inspections.setOffline(!inspections.isOffline) }
                }
            }
            Section("To review") {
                ForEach(parked?.writes ?? []) { write in
                    Button {
                        review(write.mutation)
                    } label: {
                        MutationRow(mutation: write.mutation)
                    }
                }
            }
            Section("Server") {
                LabeledContent("Waiting") { Text("\(monitor?.waiting ?? 0)") }
                if let error = monitor?.lastError { Text(error).foregroundStyle(.secondary) }
            }
            Button("Sign out") { signOut(discardingUnsent: false) }
        }
        .task {
            parked = ParkedWrites(inspections.store)
            monitor = SyncMonitor(inspections.store)
        }
        .alert("\(unsent) changes are not on the server. Delete them?", isPresented: $isAsking) {
            Button("Delete and sign out", role: .destructive) { signOut(discardingUnsent: true) }
            Button("Cancel", role: .cancel) {}
        }
    }

    private func signOut(discardingUnsent: Bool) {
        inspections.act {
            unsent = try await inspections.signOut(discardingUnsent: discardingUnsent)
            isAsking = unsent > 0
        }
    }
}

private struct MutationRow: View {
    let mutation: PendingMutation

    var body: some View {
        VStack(alignment: .leading) {
            ForEach(Array(mutation.rows.enumerated()), id: \.offset) { _, row in
                Text("\(String(describing: row.operation)) \(row.table)")
            }
            if let reason = mutation.reason { Text(String(describing: reason)).font(.caption).foregroundStyle(.secondary) }
        }
    }
}
