// Where a store has its file, where its schema comes from, and what it does in the background.

import Foundation
import Rejoin

/// The folder of a store's file. It is created if it does not exist.
public struct StoreFolder: Sendable {
    let url: @Sendable () throws -> URL

    /// A folder of the app in Application Support, named by the app's bundle identifier.
    ///
    /// It is excluded from backups, because an older copy of a file lacks its unsent writes. On iOS its files can be opened
    /// once the user has unlocked the device for the first time after a start.
    public static let applicationSupport = StoreFolder {
        let folder = try FileManager.default.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let app = Bundle.main.bundleIdentifier ?? ProcessInfo.processInfo.processName
        return try prepared(folder.appendingPathComponent(app, isDirectory: true))
    }

    /// A folder of the app's choice, with the same settings.
    public static func directory(_ url: URL) -> StoreFolder { StoreFolder { try prepared(url) } }

    #if canImport(Darwin)
    /// The folder `Rejoin` in the container of an app group, for a file that widgets and extensions read.
    ///
    /// - Parameter identifier: the group, which the app's entitlements name; otherwise opening throws
    ///   `RejoinError.configuration`.
    public static func appGroup(_ identifier: String) -> StoreFolder {
        StoreFolder {
            guard let url = FileManager.default.containerURL(forSecurityApplicationGroupIdentifier: identifier) else {
                throw RejoinError.configuration("app group \(identifier): not in the app's entitlements; add it to App Groups of the target")
            }
            return try prepared(url.appendingPathComponent("Rejoin", isDirectory: true))
        }
    }
    #endif

    private static func prepared(_ folder: URL) throws -> URL {
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            #if canImport(Darwin)
            var (folder, values) = (folder, URLResourceValues())
            values.isExcludedFromBackup = true
            try folder.setResourceValues(values)
            #endif
            #if os(iOS)
            try FileManager.default.setAttributes(
                [.protectionKey: FileProtectionType.completeUntilFirstUserAuthentication], ofItemAtPath: folder.path)
            #endif
        } catch {
            throw RejoinError.storage("folder \(folder.path): \(error.localizedDescription); the next call tries again")
        }
        return folder
    }
}

/// The schema of a store: the server's `GET /sync/schema`, bundled with the app so that the first start works offline.
public struct StoreSchema: Sendable {
    let json: @Sendable () throws -> String

    /// The resource `name.json` of a bundle.
    ///
    /// A missing resource is a `RejoinError.configuration`, which opening throws.
    public static func bundled(_ name: String, in bundle: Bundle = .main) -> StoreSchema {
        StoreSchema {
            guard let url = bundle.url(forResource: name, withExtension: "json") else {
                throw RejoinError.configuration("schema \(name).json: not in the bundle; add it to the target's resources")
            }
            return try String(contentsOf: url, encoding: .utf8)
        }
    }

    /// The manifest as text.
    public static func json(_ text: String) -> StoreSchema { StoreSchema { text } }
}

/// What closes the file of a store while the app is in the background.
public struct StoreLifecycle: Sendable {
    let follow: @Sendable (RejoinClient) async -> (lifecycle: AppLifecycle?, kept: [any Sendable])

    /// - Parameter follow: called when the file is open. The store keeps the lifecycle and the other objects.
    public init(_ follow: @escaping @Sendable (RejoinClient) async -> (lifecycle: AppLifecycle?, kept: [any Sendable])) {
        self.follow = follow
    }

    /// Follows the network, and on iOS the app, so that it never holds the file while it is suspended.
    public static let app = StoreLifecycle(followApp)

    /// The file stays open, and the app reports the network itself.
    public static let none = StoreLifecycle { _ in (nil, []) }

    @Sendable private static func followApp(_ client: RejoinClient) async -> (AppLifecycle?, [any Sendable]) {
        #if canImport(UIKit)
        let lifecycle = await AppLifecycle(client, time: .application)
        return (lifecycle, [await lifecycle.followApplication(), lifecycle.followNetwork()])
        #elseif canImport(Network)
        let lifecycle = AppLifecycle(client, time: Unlimited())
        return (lifecycle, [lifecycle.followNetwork()])
        #else
        return (nil, [])
        #endif
    }
}

/// The background time of a system that does not suspend apps.
private struct Unlimited: BackgroundTime {
    func begin(expired _: @escaping @Sendable () -> Void) -> @Sendable () -> Void { {} }
}
