// Stub of UIKit: the declarations that swift/Sources uses.

@_exported import Foundation

@MainActor public final class UIApplication: NSObject, Sendable {
    public enum State: Int, Sendable { case active, inactive, background }

    public static var shared: UIApplication { fatalError() }
    public var applicationState: State { fatalError() }

    public nonisolated static let didEnterBackgroundNotification = Notification.Name("")
    public nonisolated static let willEnterForegroundNotification = Notification.Name("")

    public nonisolated func beginBackgroundTask(
        withName taskName: String?, expirationHandler handler: (@MainActor @Sendable () -> Void)? = nil
    ) -> UIBackgroundTaskIdentifier { fatalError() }
    public nonisolated func endBackgroundTask(_ identifier: UIBackgroundTaskIdentifier) {}
}

public struct UIBackgroundTaskIdentifier: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
    public static let invalid = UIBackgroundTaskIdentifier(rawValue: 0)
}

// Of Foundation, on Apple platforms only.
extension Notification.Name {
    public static let NSProcessInfoPowerStateDidChange = Notification.Name("")
}

extension ProcessInfo {
    public var isLowPowerModeEnabled: Bool { fatalError() }
}
