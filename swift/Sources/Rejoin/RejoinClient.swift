// The client: what an app holds. Opening, the end, and what is said of the file as a whole.
//
// Promise: every call is safe from any task; none blocks a thread. Border: calls the generated bindings and translates; what
// writing, watching and syncing mean stands in the engine.

import Foundation
internal import RejoinFFI

/// An open database that keeps itself in step with a server.
///
/// ```swift
/// let client = try await RejoinClient.open(.init(
///     path: folder.appendingPathComponent("todo.db"),
///     serverURL: URL(string: "https://sync.example.com"),
///     tokens: session))
/// try await client.start()
///
/// try await client.execute("INSERT INTO task (id, title) VALUES (?, ?)", [UUID().uuidString, "buy milk"])
/// for try await tasks in client.watch("SELECT id, title FROM task ORDER BY title", as: Todo.self) {
///     show(tasks)
/// }
/// ```
///
/// Everything but syncing works without a network: what is written is on disk when the call returns, and is sent when there
/// is one. Reads see the last committed state and never wait for writes.
///
/// Cancelling a task never cuts a statement in two: a query or a write that has begun is done, and its caller hears of it. What
/// waits for the network, or for its turn to write, throws `CancellationError` at once.
///
/// When nobody holds the client any more, it shuts itself down; ``shutdown()`` waits for that.
public final class RejoinClient: Sendable {
    let ffi: RejoinFFI.RejoinClient
    /// The file, by its full name.
    public let path: URL

    private init(_ ffi: RejoinFFI.RejoinClient) {
        self.ffi = ffi
        path = URL(fileURLWithPath: ffi.path())
    }

    /// Opens the file, and makes it if there is none; works offline.
    ///
    /// A file that is open already in this process is shared, and must be opened with the same configuration; its token provider,
    /// transport and actions stay those of the first to open it.
    ///
    /// - Parameter configuration: the file, the server, and how to sync; see ``RejoinConfiguration``.
    /// - Throws: ``RejoinError/configuration(reason:)`` with every problem as ``RejoinConfiguration`` says, ``RejoinError/storage(reason:)`` where the file
    ///   cannot be opened, ``RejoinError/wrongUser(reason:)`` where it is somebody else's; nothing was changed then.
    public static func open(_ configuration: RejoinConfiguration) async throws -> RejoinClient {
        let config = try configuration.ffi()
        let tokens = configuration.tokens.map(TokenBridge.init)
        let transport = configuration.transport.map(TransportBridge.init)
        let file = Locked(configuration.path)
        let actions = try configuration.actions.registry(of: file)
        let client = try await translated {
            RejoinClient(
                try await RejoinFFI.RejoinClient.open(config: config, tokens: tokens, transport: transport, actions: actions))
        }
        file.with { $0 = client.path }
        return client
    }

    /// Ends the client: what was handed in before is done, watches and streams end, syncing stops, the file is closed.
    ///
    /// What waits for the server stays in the file. A transaction or read that is open is rolled back. Later calls throw
    /// ``RejoinError/ended(reason:)``. Shutting down twice is no error.
    ///
    /// - Throws: ``RejoinError/invalidInput(reason:)`` inside this client's own transaction.
    public func shutdown() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.shutdown() }
    }

    /// Lets go of the file, as iOS demands of an app in the background: rolls back what runs, closes every connection and
    /// drops every lock.
    ///
    /// Nothing that was committed is lost. Calls throw ``RejoinError/suspended(reason:)`` until ``resume()``; watches stay
    /// and tell what was missed.
    ///
    /// - Throws: ``RejoinError/invalidInput(reason:)`` inside this client's own transaction.
    public func suspend() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.suspend() }
    }

    /// Opens the file again after ``suspend()``.
    ///
    /// - Throws: what opening throws; the client stays suspended then.
    public func resume() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.resume() }
    }

    /// One bundle of JSON for a bug report: versions, configuration, what waits and why, the schema, sizes.
    ///
    /// It holds nothing of the app's rows and no credentials.
    public func diagnose() async throws -> String {
        try outsideOfTransaction()
        return try await translated { try await ffi.diagnose() }
    }

    /// Brings what was written lately from the write-ahead log back into the database.
    ///
    /// Seldom needed, as the engine does so by itself; before copying the file, say.
    ///
    /// - Parameter mode: how much it insists; with ``CheckpointMode/truncate`` everything is in the one file afterwards.
    /// - Returns: what was moved.
    public func checkpoint(_ mode: CheckpointMode) async throws -> Checkpointed {
        try outsideOfTransaction()
        return Checkpointed(try await translated { try await ffi.checkpoint(mode: mode.ffi) })
    }
}

/// How much a checkpoint insists; the words are SQLite's.
public enum CheckpointMode: Sendable, Hashable {
    /// Moves what can be moved without waiting for anybody.
    case passive
    /// Waits for writers and readers, and moves all.
    case full
    /// The same, and the log begins anew.
    case restart
    /// The same, and the log's file is emptied.
    case truncate
}

/// What a checkpoint moved.
public struct Checkpointed: Sendable, Hashable {
    /// Whether somebody was in the way, so that not all was moved.
    public let busy: Bool
    /// How many pages the log held.
    public let pages: Int64
    /// How many of them were moved.
    public let moved: Int64
}
