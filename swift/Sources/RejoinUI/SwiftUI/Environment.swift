// The database of a view hierarchy.

#if canImport(SwiftUI)
import Rejoin
import SwiftUI

private struct RejoinKey: EnvironmentKey {
    static let defaultValue: any SyncedDatabase = RejoinStore {
        throw RejoinError.configuration("no database in the environment: add .rejoin(store) to a view above this one")
    }
}

extension EnvironmentValues {
    /// The database of the views; see ``SwiftUI/View/rejoin(_:)``. Without one, each call throws
    /// `RejoinError.configuration`.
    public var rejoin: any SyncedDatabase {
        get { self[RejoinKey.self] }
        set { self[RejoinKey.self] = newValue }
    }
}

extension View {
    /// Sets the database of this view and the views in it, and opens it in the background.
    ///
    /// ```swift
    /// @main struct TodoApp: App {
    ///     @State private var rejoin = RejoinStore("todo.db", server: url, schema: .bundled("schema"), tokens: session)
    ///
    ///     var body: some Scene { WindowGroup { TodoList().rejoin(rejoin) } }
    /// }
    /// ```
    ///
    /// - Parameter database: a ``RejoinStore`` or a client.
    public func rejoin(_ database: any SyncedDatabase) -> some View {
        // An error is thrown again by the first call.
        environment(\.rejoin, database).task(id: ObjectIdentifier(database)) { _ = try? await database.client }
    }
}
#endif
