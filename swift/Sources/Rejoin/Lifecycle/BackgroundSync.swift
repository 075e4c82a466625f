// Syncs while the app is in the background, when iOS finds the time for it.

#if canImport(BackgroundTasks) && !os(macOS)
import BackgroundTasks
import Foundation

extension AppLifecycle {
    /// Registers a task that opens the file, syncs and closes it, and schedules itself again. Call it before the app has
    /// finished launching, and ``scheduleSync(_:isProcessing:)`` when the app goes to the background.
    ///
    /// The identifier must be in `BGTaskSchedulerPermittedIdentifiers` of the app's Info.plist, and `UIBackgroundModes` must
    /// have `fetch` (or `processing`, for a processing task).
    ///
    /// ```swift
    /// AppLifecycle.registerSync("com.example.app.sync") { try await store.lifecycle }
    /// ```
    ///
    /// - Parameter identifier: the identifier of the task.
    /// - Parameter isProcessing: `true` for a `BGProcessingTask`, which gets minutes, usually at night on a charger; otherwise
    ///   a `BGAppRefreshTask`, which gets about 30 seconds.
    /// - Parameter lifecycle: returns the lifecycle, opening the client first if the app was launched for the task.
    /// - Returns: whether the identifier is permitted.
    @discardableResult
    public static func registerSync(
        _ identifier: String, isProcessing: Bool = false, lifecycle: @escaping @Sendable () async throws -> AppLifecycle?
    ) -> Bool {
        BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: nil) { task in
            scheduleSync(identifier, isProcessing: isProcessing)
            let task = Unchecked(task)
            let sync = Task {
                let done = try? await lifecycle()?.syncInBackground()
                task.value.setTaskCompleted(success: done == true)
            }
            task.value.expirationHandler = { sync.cancel() }
        }
    }

    /// Asks iOS to run the task, not before a quarter of an hour from now. Asking again replaces the earlier request.
    public static func scheduleSync(_ identifier: String, isProcessing: Bool = false) {
        let request: BGTaskRequest
        if isProcessing {
            let processing = BGProcessingTaskRequest(identifier: identifier)
            processing.requiresNetworkConnectivity = true
            request = processing
        } else {
            request = BGAppRefreshTaskRequest(identifier: identifier)
        }
        request.earliestBeginDate = Date(timeIntervalSinceNow: 15 * 60)
        // It fails where the user has switched background refresh off; then the app syncs in the foreground.
        try? BGTaskScheduler.shared.submit(request)
    }
}

/// A task of the system, which is documented to be used from any thread.
private struct Unchecked<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
#endif
