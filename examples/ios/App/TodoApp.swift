// The app: its database in the environment, and sign-in or the two tabs with the sync status. The screens are in their own
// files.

import Rejoin
import RejoinUI
import SwiftUI

@main struct TodoApp: App {
    @State private var inspections = Inspections()

    var body: some Scene {
        WindowGroup { AppScreen(inspections: inspections).rejoin(inspections.store) }
    }
}

struct AppScreen: View {
    @Bindable var inspections: Inspections
    @State private var reviewed: PendingMutation?

    var body: some View {
        Group {
            switch inspections.isSignedIn {
            case true?: tabs
            case false?: SignInScreen(inspections: inspections)
            case nil: ProgressView()
            }
        }
        .task { await inspections.restore() }
        .sheet(item: $reviewed) { ParkedSheet($0.id) }
        .alert(inspections.failure ?? "", isPresented: $inspections.isFailureShown) { Button("OK") {} }
    }

    private var tabs: some View {
        TabView {
            screen("Places") { PlacesScreen(inspections: inspections) }
                .tabItem { Label("Places", systemImage: "mappin") }
            screen("Queue") { QueueScreen(inspections: inspections, review: { reviewed = $0 }) }
                .tabItem { Label("Queue", systemImage: "tray") }
        }
    }

    private func screen(_ title: String, @ViewBuilder content: () -> some View) -> some View {
        NavigationStack {
            content().navigationTitle(title).toolbar { ToolbarItem(placement: .primaryAction) { SyncBadge() } }
        }
    }
}
