// Background tasks and the notifications of an app, for iOS.

#if canImport(UIKit) && !os(watchOS)
import UIKit

extension BackgroundTime where Self == ApplicationTime {
    /// A background task of the running app.
    @MainActor public static var application: ApplicationTime { ApplicationTime(UIApplication.shared) }
}

/// Background tasks of an app.
public struct ApplicationTime: BackgroundTime {
    private let application: UIApplication

    @MainActor init(_ application: UIApplication) { self.application = application }

    public func begin(expired: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let task = application.beginBackgroundTask(withName: "Rejoin", expirationHandler: expired)
        if task == .invalid {
            // No time is left. Not within this call: the caller holds its lock.
            Task.detached { expired() }
            return {}
        }
        return { [application] in application.endBackgroundTask(task) }
    }
}

extension AppLifecycle {
    /// Follows the notifications of the app: foreground, background, and low power mode.
    ///
    /// An app that was launched into the background is closed at once.
    ///
    /// - Returns: stops following when it is released; keep it as long as the lifecycle.
    @MainActor public func followApplication() -> Following {
        let center = NotificationCenter.default
        let lowPower = Notification.Name.NSProcessInfoPowerStateDidChange
        let report: @Sendable (Notification) -> Void = { [weak self] notification in
            switch notification.name {
            case UIApplication.willEnterForegroundNotification: self?.foreground()
            case UIApplication.didEnterBackgroundNotification: self?.background()
            default: self?.lowPower(ProcessInfo.processInfo.isLowPowerModeEnabled)
            }
        }
        let names = [UIApplication.willEnterForegroundNotification, UIApplication.didEnterBackgroundNotification, lowPower]
        // They are only passed back, and the centre may be used on any thread.
        nonisolated(unsafe) let observers = names.map { center.addObserver(forName: $0, object: nil, queue: nil, using: report) }
        self.lowPower(ProcessInfo.processInfo.isLowPowerModeEnabled)
        if UIApplication.shared.applicationState == .background { background() }
        return Following { observers.forEach(center.removeObserver) }
    }
}
#endif
