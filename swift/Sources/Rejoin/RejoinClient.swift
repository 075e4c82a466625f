// The client: opening, shutdown, suspend, diagnosis and checkpoints.
//
// Every call is safe from any task and blocks no thread. The client calls the generated bindings and translates types and
// errors.

import Foundation
internal import RejoinFFI

/// An open local database that syncs with a server.
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
/// Everything except syncing works offline: a write is on disk when the call returns, and is sent when there is a
/// network. Reads see the last committed state and never wait for writes.
///
/// Cancelling a task never interrupts a statement: a query or write that has started completes, and the caller gets the
/// result. A call that waits for the network or for its turn to write throws `CancellationError` at once.
///
/// The client shuts down when it is released; ``shutdown()`` waits for that.
public final class RejoinClient: Sendable {
    let ffi: RejoinFFI.RejoinClient
    /// URL of the database file.
    public let path: URL

    private init(_ ffi: RejoinFFI.RejoinClient) {
        self.ffi = ffi
        path = URL(fileURLWithPath: ffi.path())
    }

    /// Opens the file, creating it if it does not exist. Works offline.
    ///
    /// A file that is already open in this process is shared. It must be opened with the same configuration; the token
    /// provider, transport and actions of the first open stay in effect.
    ///
    /// - Parameter configuration: the file, the server and the sync settings; see ``RejoinConfiguration``.
    /// - Throws: ``RejoinError/configuration(reason:)`` with all problems found, ``RejoinError/storage(reason:)`` if the
    ///   file cannot be opened, ``RejoinError/wrongUser(reason:)`` if it belongs to another user; nothing was changed.
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

    /// Shuts the client down and waits: calls made before finish, watches and streams end, syncing stops, the file is
    /// closed.
    ///
    /// Pending mutations stay in the file. Open transactions and reads are rolled back. Later calls throw
    /// ``RejoinError/ended(reason:)``. Shutting down twice has no effect.
    ///
    /// - Throws: ``RejoinError/invalidInput(reason:)`` inside this client's own transaction.
    public func shutdown() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.shutdown() }
    }

    /// Releases the file, as iOS requires of an app in the background: rolls back open transactions, closes all
    /// connections and drops all locks.
    ///
    /// No committed data is lost. Calls throw ``RejoinError/suspended(reason:)`` until ``resume()``; watches stay and
    /// then deliver missed changes.
    ///
    /// - Throws: ``RejoinError/invalidInput(reason:)`` inside this client's own transaction.
    public func suspend() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.suspend() }
    }

    /// Reopens the file after ``suspend()``.
    ///
    /// - Throws: as ``open(_:)``; then the client stays suspended.
    public func resume() async throws {
        try outsideOfTransaction()
        try await translated { try await ffi.resume() }
    }

    /// Returns a JSON bundle for a bug report: versions, configuration, pending mutations with their reasons, schema and
    /// sizes.
    ///
    /// It contains no row data and no credentials.
    public func diagnose() async throws -> String {
        try outsideOfTransaction()
        return try await translated { try await ffi.diagnose() }
    }

    /// Writes the write-ahead log to the database file.
    ///
    /// Rarely needed, because the engine does so itself; for example before copying the file.
    ///
    /// - Parameter mode: the checkpoint mode; after ``CheckpointMode/truncate`` everything is in the one file.
    /// - Returns: what was written.
    public func checkpoint(_ mode: CheckpointMode) async throws -> Checkpointed {
        try outsideOfTransaction()
        return Checkpointed(try await translated { try await ffi.checkpoint(mode: mode.ffi) })
    }
}

/// The checkpoint modes of SQLite's write-ahead log.
public enum CheckpointMode: Sendable, Hashable {
    /// Checkpoints as much as possible without blocking readers or writers.
    case passive
    /// Waits for writers and readers, and checkpoints everything.
    case full
    /// As full; the next write starts the log from its beginning.
    case restart
    /// As full; the log file is truncated to zero bytes.
    case truncate
}

/// The result of a checkpoint.
public struct Checkpointed: Sendable, Hashable {
    /// Whether a reader or writer prevented it from finishing.
    public let busy: Bool
    /// Number of pages in the log.
    public let pages: Int64
    /// Number of pages written to the database file.
    public let moved: Int64
}
