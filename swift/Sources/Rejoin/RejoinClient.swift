// The client: opening, shutdown, and syncing in the background. Its handles are in Queue.swift, Sync.swift,
// Schema.swift and Storage.swift.
//
// Every call is safe from any task and blocks no thread. The client calls the generated bindings and translates types
// and errors.

import Foundation
internal import RejoinFFI

/// An open local database that syncs with a server.
///
/// ```swift
/// let client = try await RejoinClient.open(.init(
///     path: folder.appendingPathComponent("todo.db"),
///     server: URL(string: "https://sync.example.com"),
///     tokens: session))
/// try await client.start()
///
/// try await client.execute("INSERT INTO task (id, title) VALUES (?, ?)", [UUID().uuidString, "buy milk"])
/// for try await tasks in client.watch("SELECT id, title FROM task ORDER BY title", as: Todo.self) {
///     show(tasks)
/// }
/// ```
///
/// Everything except syncing works offline: a write is on disk when the call returns, and is sent when there is a
/// network. Reads see the last committed state and never wait for writes.
///
/// Cancelling a task never interrupts a statement: a query or write that has started completes, and the caller gets the
/// result. A call that waits for the network or for its turn to write throws `CancellationError` at once.
///
/// Further calls are in four handles: ``queue``, ``sync``, ``schema`` and ``storage``.
///
/// The client shuts down when it is released; ``shutdown()`` waits for that. A handle holds its client.
public final class RejoinClient: RejoinDatabase {
    let ffi: RejoinFFI.RejoinClient
    /// URL of the database file.
    public let path: URL

    private init(_ ffi: RejoinFFI.RejoinClient) {
        self.ffi = ffi
        path = URL(fileURLWithPath: ffi.path())
    }

    /// Opens the file, creating it if it does not exist. Works offline.
    ///
    /// A file that is already open in this process is shared. It must be opened with the same configuration. Its token
    /// provider, transport and actions are replaced by those that are given now; one of a kind that the first open
    /// lacked is a ``RejoinError/configuration(_:)``.
    ///
    /// - Parameter config: the file, the server and the sync settings; see ``RejoinConfig``.
    /// - Throws: ``RejoinError/configuration(_:)`` with all problems found, ``RejoinError/storage(_:)`` if the
    ///   file cannot be opened, ``RejoinError/wrongUser(_:)`` if it belongs to another user; nothing was changed.
    public static func open(_ config: RejoinConfig) async throws -> RejoinClient {
        let values = try config.ffi()
        let tokens = config.tokens.map(TokenBridge.init)
        let transport = config.transport.map(TransportBridge.init)
        let file = Locked(config.path)
        let actions = try config.actions.registry(of: file)
        let client = try await translated {
            RejoinClient(
                try await RejoinFFI.RejoinClient.open(config: values, tokens: tokens, transport: transport, actions: actions))
        }
        file.with { $0 = client.path }
        return client
    }

    /// Shuts the client down and waits: calls made before finish, watches and streams end, syncing stops, the file is
    /// closed.
    ///
    /// Pending mutations stay in the file. Open transactions and reads are rolled back. Later calls throw
    /// ``RejoinError/closed(_:)``. Shutting down twice has no effect.
    ///
    /// - Throws: ``RejoinError/invalidInput(_:)`` inside this client's own transaction.
    public func shutdown() async throws {
        try await callEngine { try await $0.shutdown() }
    }

    /// Starts syncing in the background: at once, then after writes, when the server has changes, and at each interval.
    ///
    /// Being offline is a status, not an error. Starting twice has no effect.
    ///
    /// - Throws: ``RejoinError/invalidInput(_:)`` without a configured server.
    public func start() async throws {
        try await callEngine { try await $0.start() }
    }

    /// Stops syncing; local work continues and writes wait. Stopping twice has no effect.
    public func stop() async throws {
        try await callEngine { try await $0.stop() }
    }

    /// The current sync status.
    public var status: SyncStatus { SyncStatus(ffi.status()) }

    /// The sync status now and after each change, until the client is shut down.
    ///
    /// ```swift
    /// for await status in client.statusUpdates {
    ///     banner.isHidden = status.state != .needsAuth
    /// }
    /// ```
    ///
    /// A slow reader skips to the latest status. Leaving the loop or cancelling its task ends the stream.
    public var statusUpdates: AsyncStream<SyncStatus> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let observer = StatusBridge {
                continuation.yield($0)
            } end: {
                continuation.finish()
            }
            let subscription = ffi.onStatus(observer: observer)
            continuation.onTermination = { _ in subscription.cancel() }
        }
    }
}
