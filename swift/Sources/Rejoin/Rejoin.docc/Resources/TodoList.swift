// The open tasks, which follow all changes.

import RejoinUI
import SwiftUI

struct TodoList: View {
    @Watch(
        Todo.self,
        "SELECT id, title, done, rejoin_row_state('tasks', id) AS state FROM tasks WHERE done = \(false) ORDER BY position")
    private var todos

    var body: some View {
        List(todos) { todo in
            VStack(alignment: .leading) {
                Text(todo.title)
                Text(todo.state).font(.caption)
            }
        }
    }
}
