// The configuration of a client. Policies.swift has its choices; Bridge/Config.swift passes it to the engine, which
// owns the defaults and limits and validates them at open.

import Foundation

/// How a client opens its file and syncs. Only the path is required.
///
/// Opening first checks that each number and duration can be passed to the engine (not negative, at most 49 days), then
/// the limits below. Each check reports all its problems together. Durations are rounded up to whole milliseconds.
///
/// ```swift
/// var config = RejoinConfig(path: folder.appendingPathComponent("todo.db"))
/// config.server = URL(string: "https://sync.example.com")
/// config.syncInterval = .seconds(60)
/// ```
public struct RejoinConfig: Sendable {
    /// The database file, created if it does not exist. Its directory must exist.
    public var path: URL
    /// The server. Without it the client works offline and keeps all writes. `http://` is accepted for loopback
    /// addresses only; see ``allowHTTP``.
    public var server: URL?
    /// Whether ``server`` may be `http://` to a host that is not a loopback address. Others on the network can then
    /// read and change rows and steal the token. For development in a local network. Default: false.
    public var allowHTTP = false
    /// The user whose data this file holds. Default: the user that the server returns at registration. A plain Synchro
    /// server returns none; then the `sub` claim of the token, if it is a JWT.
    public var userID: String?
    /// This device's name in the server's list. Default `device`.
    public var deviceName: String?
    /// The kind of device. Default: the name of the operating system.
    public var platform: String?
    /// The app's version, as `1.2.3`; the server may require a newer one. Default `0.0.0`.
    public var appVersion: String?
    /// The schema manifest as JSON, bundled with the app so that the first start works offline. Default: fetched from
    /// the server.
    public var schema: String?
    /// The conflict policy per table. Default: the policy in the server's manifest.
    public var policies: [String: ConflictPolicy] = [:]
    /// Pause between two background sync passes. Default 30 s; 1 s to 1 day. While the server's event stream is open
    /// and nothing happens, the pause grows 64-fold, to at most 30 minutes: a change wakes the device.
    public var syncInterval: Duration?
    /// The shortest time between two pushes of local writes; the first after a pause is pushed at once.
    /// Default 0.5 s; up to 1 min.
    public var pushDebounce: Duration?
    /// How long to wait for a response before the request counts as lost. Default 10 s; 1 s to 10 min.
    public var ackDeadline: Duration?
    /// Number of failed attempts after which the status is failed; attempts continue at each interval. Default 5; up to
    /// 100.
    public var maxRetries: Int?
    /// Number of server errors after which a mutation is parked. Default 50; 1 to 10,000.
    public var serverFaultAttempts: Int?
    /// How long the server may fail on a mutation before it is parked. Default 1 day; 1 min to 30 days.
    public var serverFaultAge: Duration?
    /// Rows per response. Default 1,000; 100 to 1,000. A snapshot begins with it; its pages then follow the speed of the
    /// network, up to the server's limit.
    public var pageSize: Int?
    /// Mutations per request. Default 100; 100 to 1,000.
    public var batchSize: Int?
    /// What may use a metered network. Default: everything.
    public var metered: MeteredPolicy?
    /// What an acknowledged local write survives. Default: a crash of the app, not a power cut.
    public var durability: Durability?
    /// Number of read connections. Default 4; 1 to 16.
    public var readers: Int?
    /// Size in bytes beyond which the write-ahead log is checkpointed. Default 4 MiB; 64 KiB to 1 GiB.
    public var walLimit: Int?
    /// How long a transaction, a read or an action may run no statement before it is rolled back. Default 5 s; 0.1 s to
    /// 1 min.
    public var transactionIdle: Duration?
    /// Limits for actions. Default: see ``ActionBudget``.
    public var actionBudget = ActionBudget()
    /// The actions that ``RejoinDatabase/perform(_:_:)-8a5v5`` can run. Default: none.
    public var actions = Actions()
    /// Identifies the user to the server. Without it, requests carry ``userID``, which a server accepts only from its
    /// own machine.
    public var tokens: (any TokenProvider)?
    /// Replaces the built-in HTTP client.
    public var transport: (any HTTPTransport)?

    /// Default settings for this file.
    ///
    /// - Parameter path: the database's file.
    /// - Parameter server: the server, if there is one.
    /// - Parameter tokens: identifies the user to the server.
    public init(path: URL, server: URL? = nil, tokens: (any TokenProvider)? = nil) {
        self.path = path
        self.server = server
        self.tokens = tokens
    }

    /// Default settings for this file, with a closure in place of a ``TokenProvider``.
    ///
    /// ```swift
    /// let config = RejoinConfig(path: file, server: url) { refresh in try await session.token(renew: refresh) }
    /// ```
    ///
    /// - Parameter path: the file.
    /// - Parameter server: the server; without it, the client works offline.
    /// - Parameter tokens: as ``TokenProvider/token(refresh:)``.
    public init(path: URL, server: URL? = nil, tokens: @escaping TokenClosure.Body) {
        self.init(path: path, server: server, tokens: TokenClosure(tokens))
    }

    /// Default settings for a new file, for tests and previews: `RejoinClient.open(.temporary())`.
    ///
    /// It is a real database in a new folder within the system's folder for temporary files, and works offline. Every
    /// open creates a database of its own; ``RejoinClient/path`` is its file. ``RejoinClient/shutdown()`` removes the
    /// folder. After a crash the folder stays until the system removes it.
    public static func temporary() -> RejoinConfig { RejoinConfig(path: temporaryPath) }

    /// The path of each temporary configuration; the engine creates the real one.
    static let temporaryPath = URL(fileURLWithPath: "/:temporary:", isDirectory: false)
}
