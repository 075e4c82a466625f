// A database that opens itself in the background. RejoinStore+Database.swift has its calls.

import Foundation
import Rejoin

/// The database of an app, opened in the background by its first call.
///
/// ```swift
/// @State private var rejoin = RejoinStore("todo.db", server: url, schema: .bundled("schema"), tokens: session)
/// ```
///
/// Creating a store touches no file, so it may be the default value of a property. Each call waits until the file is open,
/// and throws the error if it cannot be opened; the next call opens it again. Opening works offline. With a server, syncing
/// starts as well; see `RejoinClient.start`.
public final class RejoinStore: SyncedDatabase, @unchecked Sendable {
    private let open: @Sendable () async throws -> Opened
    // The lock guards what follows.
    private let lock = NSLock()
    private var opening: Task<Opened, any Error>?
    private var opened: Opened?

    /// An open client, and what closes its file in the background.
    struct Opened: Sendable {
        let client: RejoinClient
        let lifecycle: AppLifecycle?
        let kept: [any Sendable]
    }

    /// A store for a file of the app.
    ///
    /// - Parameter name: the file's name.
    /// - Parameter folder: the folder of the file.
    /// - Parameter server: the server; without it the store works offline and keeps all writes.
    /// - Parameter schema: the schema; without it the tables exist only after the first sync.
    /// - Parameter tokens: identifies the user to the server.
    /// - Parameter lifecycle: closes the file while the app is in the background.
    /// - Parameter configure: sets what the other parameters do not, before each attempt to open.
    public init(
        _ name: String, in folder: StoreFolder = .applicationSupport, server: URL? = nil, schema: StoreSchema? = nil,
        tokens: (any TokenProvider)? = nil, lifecycle: StoreLifecycle = .app,
        configure: @escaping @Sendable (inout RejoinConfig) -> Void = { _ in }
    ) {
        open = { @Sendable in
            let file = try folder.url().appendingPathComponent(name, isDirectory: false)
            var config = RejoinConfig(path: file, server: server, tokens: tokens)
            config.schema = try schema?.json()
            config.appVersion = threePartVersion(Bundle.main.infoDictionary?["CFBundleShortVersionString"] as? String)
            configure(&config)
            let client = try await RejoinClient.open(config)
            if config.server != nil { try await client.start() }
            let (lifecycle, kept) = await lifecycle.follow(client)
            return Opened(client: client, lifecycle: lifecycle, kept: kept)
        }
    }

    /// A store for the client that a closure opens, for tests and previews:
    ///
    /// ```swift
    /// let preview = RejoinStore { try await RejoinClient.open(.temporary()) }
    /// ```
    ///
    /// - Parameter open: opens the client; called again if it has thrown.
    public init(open: @escaping @Sendable () async throws -> RejoinClient) {
        self.open = { Opened(client: try await open(), lifecycle: nil, kept: []) }
    }

    /// The open client; opens the file first. In the background its calls throw `RejoinError.suspended`; see
    /// ``withClient(_:)``.
    public var client: RejoinClient {
        get async throws { try await openFile().client }
    }

    /// What closes the file in the background, for `AppLifecycle.registerSync`; opens the file first. `nil` if the store was
    /// made with ``StoreLifecycle/none`` or with a closure.
    public var lifecycle: AppLifecycle? {
        get async throws { try await openFile().lifecycle }
    }

    /// Runs `body` with the file open, also in the background. The calls of a store do this by themselves.
    ///
    /// ```swift
    /// let unsent = try await store.withClient { try await $0.queue.all() }
    /// ```
    ///
    /// - Throws: the errors of opening the file, and those of `AppLifecycle.hold` and of `body`.
    public func withClient<Result: Sendable>(_ body: @Sendable (RejoinClient) async throws -> Result) async throws -> Result {
        let opened = try await openFile()
        guard let lifecycle = opened.lifecycle else { return try await body(opened.client) }
        return try await lifecycle.hold { try await body(opened.client) }
    }

    private func openFile() async throws -> Opened {
        let task = lock.withLock {
            if let opening { return opening }
            let task = Task.detached { [open] in try await open() }
            opening = task
            return task
        }
        let result = await task.result
        lock.withLock {
            switch result {
            case .success(let file): opened = file
            case .failure: if opening == task { opening = nil }
            }
        }
        return try result.get()
    }

    /// Shuts the client down and waits, if it was opened: see `RejoinClient.shutdown`. Later calls throw
    /// `RejoinError.closed`.
    public func shutdown() async throws {
        let opening = lock.withLock { self.opening }
        try await opening?.value.client.shutdown()
    }

    /// The client, if it is open already.
    var openClient: RejoinClient? { lock.withLock { opened?.client } }
}

/// The version of an app as `1.2.3`, which the engine requires; bundles also have `1.0` and `1`. `nil` for other forms.
func threePartVersion(_ version: String?) -> String? {
    let parts = (version ?? "").split(separator: ".", omittingEmptySubsequences: false).map { UInt32($0) }
    guard (1...3).contains(parts.count), !parts.contains(nil) else { return nil }
    return (parts + [0, 0]).prefix(3).compactMap { $0.map(String.init) }.joined(separator: ".")
}
