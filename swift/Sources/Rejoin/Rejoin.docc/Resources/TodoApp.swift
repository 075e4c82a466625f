// The app, with its database.

import Foundation
import Rejoin
import RejoinUI
import SwiftUI

@main struct TodoApp: App {
    @State private var rejoin = RejoinStore(
        "todo.db", server: URL(string: "https://sync.example.org"), schema: .bundled("schema"),
        tokens: TokenClosure { refresh in try await signIn(again: refresh) })

    var body: some Scene {
        WindowGroup { TodoScreen().rejoin(rejoin) }
    }
}
