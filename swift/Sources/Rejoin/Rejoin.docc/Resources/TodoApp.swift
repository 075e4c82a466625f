// The app, with its database.

import Foundation
import Rejoin
import RejoinUI
import SwiftUI

@main struct TodoApp: App {
    @State private var rejoin = RejoinStore(
        "tasks.db", server: URL(string: "http://127.0.0.1:7878"), schema: .bundled("schema")
    ) { $0.userID = "ana" }  // For development.

    var body: some Scene {
        WindowGroup { TodoScreen().rejoin(rejoin) }
    }
}
