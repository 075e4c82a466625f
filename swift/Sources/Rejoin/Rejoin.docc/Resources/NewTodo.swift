// A field that adds a task.

import Rejoin
import RejoinUI
import SwiftUI

struct NewTodo: View {
    @Environment(\.rejoin) private var database
    @State private var title = ""
    @State private var failure: String?

    var body: some View {
        TextField("What is to be done?", text: $title)
        Button("Add") {
            Task {
                do {
                    try await database.execute("INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), \(title))")
                    title = ""
                } catch {
                    failure = error.localizedDescription
                }
            }
        }
        .disabled(title.isEmpty)
        if let failure { Text(failure) }
    }
}
