// A subscription to a stream as a property of a view. LiveSubscription.swift does the work.

#if canImport(SwiftUI)
import Rejoin
import SwiftUI

/// The status of a subscription to a stream on the database of the environment, which is held as long as the view exists.
///
/// ```swift
/// struct ProjectView: View {
///     @Subscribed("project", ["project": 42]) private var project
///
///     var body: some View { if project == .loading { ProgressView() } else { TaskList() } }
/// }
/// ```
///
/// The status is waiting until a sync returns one. `$project` is the ``LiveSubscription``, with the error. For parameters that
/// depend on the view's own input, set `_project` in the initializer of the view.
@available(iOS 17, macOS 14, *)
@MainActor @propertyWrapper
public struct Subscribed: DynamicProperty {
    @Environment(\.rejoin) private var database
    @State private var slot = Slot()
    private let request: Request

    /// - Parameter stream: the stream's name.
    /// - Parameter parameters: the value of each parameter. With others it is another subscription.
    /// - Parameter ttl: how long the rows stay after the view; `nil` is 24 hours.
    /// - Parameter priority: lower ones are loaded first; `nil` is 3.
    public init(_ stream: String, _ parameters: [String: any StreamParameter] = [:], ttl: Duration? = nil, priority: UInt8? = nil) {
        request = Request(stream: stream, parameters: parameters.mapValues(\.streamParameter), ttl: ttl, priority: priority)
    }

    /// Whether the rows are here.
    public var wrappedValue: StreamStatus { projectedValue.status }

    /// The subscription.
    public var projectedValue: LiveSubscription { slot.subscription(request, database) }

    private struct Request: Equatable {
        let stream: String
        let parameters: [String: String]
        let ttl: Duration?
        let priority: UInt8?
    }

    /// Keeps the subscription over the updates of its view.
    @MainActor
    private final class Slot {
        private var current: (subscription: LiveSubscription, request: Request, database: any SyncedDatabase)?

        func subscription(_ request: Request, _ database: any SyncedDatabase) -> LiveSubscription {
            if let current, current.request == request, current.database === database { return current.subscription }
            let subscription = LiveSubscription(
                request.stream, request.parameters, ttl: request.ttl, priority: request.priority, on: database)
            current = (subscription, request, database)
            return subscription
        }
    }
}
#endif
