// A watched query as a property of a view. LiveQuery.swift does the work.

#if canImport(SwiftUI)
import Rejoin
import SwiftUI

/// The rows of a query on the database of the environment, now and after every commit that changes them.
///
/// ```swift
/// struct TodoList: View {
///     @Watch(Todo.self, "SELECT * FROM task WHERE done = \(false)") private var todos
///
///     var body: some View { List(todos) { Text($0.title) } }
/// }
/// ```
///
/// The rows are empty until the first result. `$todos` is the ``LiveQuery``, with the error and whether it is loading.
/// For a statement that depends on the view's own input, set `_todos` in the initializer of the view.
@available(iOS 17, macOS 14, *)
@MainActor @propertyWrapper
public struct Watch<Value: Decodable & Sendable>: DynamicProperty {
    @Environment(\.rejoin) private var database
    @State private var slot = Slot()
    private let statement: Statement

    /// - Parameter type: the type of a row, or of the only column.
    /// - Parameter statement: one read-only statement.
    public init(_ type: Value.Type = Value.self, _ statement: Statement) { self.statement = statement }

    /// The latest rows.
    public var wrappedValue: [Value] { projectedValue.values }

    /// The query.
    public var projectedValue: LiveQuery<Value> { slot.query(statement, database) }

    /// Keeps the query over the updates of its view.
    @MainActor
    private final class Slot {
        private var current: (query: LiveQuery<Value>, database: any SyncedDatabase)?

        func query(_ statement: Statement, _ database: any SyncedDatabase) -> LiveQuery<Value> {
            if let current, current.database === database {
                current.query.statement = statement  // An equal one has no effect.
                return current.query
            }
            let query = LiveQuery(Value.self, statement, on: database)
            current = (query, database)
            return query
        }
    }
}
#endif
