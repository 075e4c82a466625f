// The configuration of a client. The engine owns defaults and limits and validates them at open; this file checks only
// what cannot be passed to it.

import Foundation
internal import RejoinFFI

/// How a client opens its file and syncs. Only the path is required.
///
/// Opening first checks that each number and duration can be passed to the engine (not negative, at most 49 days), then
/// the limits below. Each check reports all its problems together. Durations are rounded up to whole milliseconds.
///
/// ```swift
/// var configuration = RejoinConfiguration(path: folder.appendingPathComponent("todo.db"))
/// configuration.serverURL = URL(string: "https://sync.example.com")
/// configuration.syncInterval = .seconds(60)
/// ```
public struct RejoinConfiguration: Sendable {
    /// The database file, created if it does not exist. Its directory must exist.
    public var path: URL
    /// The server. Without it the client works offline and keeps all writes. `http://` is accepted for loopback addresses
    /// only; see ``allowHTTP``.
    public var serverURL: URL?
    /// Whether ``serverURL`` may be `http://` to a host that is not a loopback address. Others on the network can then
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
    /// The schema manifest as JSON, bundled with the app so that the first start works offline. Default: fetched from the
    /// server.
    public var schema: String?
    /// The conflict policy per table. Default: the policy in the server's manifest.
    public var policies: [String: ConflictPolicy] = [:]
    /// Pause between two background sync passes. Default 30 s; 1 s to 1 day.
    public var syncInterval: Duration?
    /// How long local writes are collected before a push. Default 0.5 s; up to 1 min.
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
    /// Rows per response. Default 1,000; 100 to 1,000.
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
    /// How long a transaction, a read or an action may run no statement before it is rolled back. Default 5 s; 0.1 s to 1
    /// min.
    public var transactionIdle: Duration?
    /// Limits for actions. Default: see ``ActionBudget``.
    public var actionBudget = ActionBudget()
    /// The actions that ``RejoinClient/perform(_:_:)`` can run. Default: none.
    public var actions = Actions()
    /// Identifies the user to the server. Without it, requests carry ``userID``, which a server accepts only from its own
    /// machine.
    public var tokens: (any TokenProvider)?
    /// Replaces the built-in HTTP client.
    public var transport: (any HTTPTransport)?

    /// Default settings for this file.
    ///
    /// - Parameter path: the database's file.
    /// - Parameter serverURL: the server, if there is one.
    /// - Parameter tokens: identifies the user to the server.
    public init(path: URL, serverURL: URL? = nil, tokens: (any TokenProvider)? = nil) {
        self.path = path
        self.serverURL = serverURL
        self.tokens = tokens
    }
}

/// Limits for actions, declared or in code; all writers wait while an action runs. `nil` means the engine's default.
///
/// ```swift
/// configuration.actionBudget.bytes = 32 << 20
/// ```
public struct ActionBudget: Sendable, Hashable {
    /// Maximum duration of one run; for code, of one statement. Beyond it the run fails with
    /// ``RejoinError/actionTooSlow(reason:action:most:)``. Default 2 s; 0.1 s to 1 min.
    public var run: Duration?
    /// Maximum total duration of all runs caused by one batch of remote rows. At the limit, code is cancelled and the
    /// remaining actions are applied as recorded where possible. Default 2 s; 0.1 s to 1 min.
    public var rebase: Duration?
    /// Maximum number of bytes that one run may write to synced tables, counting old and new values of each changed row.
    /// Beyond it the run fails with ``RejoinError/actionTooLarge(reason:action:mostBytes:)``. Default 8 MiB; 1 KiB to 1
    /// GiB.
    public var bytes: Int?

    /// Default settings for omitted values.
    public init(run: Duration? = nil, rebase: Duration? = nil, bytes: Int? = nil) {
        self.run = run
        self.rebase = rebase
        self.bytes = bytes
    }
}

/// When background syncing may use a metered network. A sync that the app requests explicitly always runs.
public enum MeteredPolicy: Sendable, Hashable {
    /// Same as any other network.
    case allow
    /// Local writes are pushed, but pulls wait for an unmetered network.
    case pushOnly
    /// No sync until the network is unmetered.
    case never
}

/// What an acknowledged local write survives. In both modes it survives a crash or kill of the app.
public enum Durability: Sendable, Hashable {
    /// A power cut or a crash of the operating system may lose the last writes; the file stays consistent.
    case normal
    /// Also survives a power cut, if the disk honours flushes: each commit waits for the disk.
    case full
}

/// How this device resolves a conflict between a remote change and a plain SQL edit. Actions run again instead.
public enum ConflictPolicy: Sendable, Hashable {
    /// Keeps the server's row; the edit is parked with both rows.
    case acceptServer
    /// Applies the edit's columns on top of the server's row and sends them again. An edit of a deleted row is parked.
    case rebase
    /// As ``rebase``, but an edit of a deleted row restores the row.
    case keepLocal
    /// As ``acceptServer``, and also keeps the values that the edit was based on, so that the app can merge.
    case manual
    /// The server compares the times of both edits; the earlier one is parked as superseded.
    case lastWriteWins
}

extension RejoinConfiguration {
    /// Converts for the engine; reports all numbers that are out of range together.
    func ffi() throws -> ClientConfig {
        var problems: [String] = []
        func fitting(_ field: String, _ value: Int?) -> UInt32? {
            guard let value else { return nil }
            guard let number = UInt32(exactly: value) else {
                problems.append("\(field): \(value) is out of its limits")
                return nil
            }
            return number
        }
        if !path.isFileURL { problems.append("path: \(path) names no file") }
        let config = ClientConfig(
            path: path.path,
            serverUrl: serverURL?.absoluteString,
            allowHttp: allowHTTP,
            userId: userID,
            deviceName: deviceName,
            platform: platform,
            appVersion: appVersion,
            schemaJson: schema,
            policies: policies.mapValues(\.ffi),
            syncIntervalMs: fitting("syncInterval", syncInterval?.milliseconds),
            pushDebounceMs: fitting("pushDebounce", pushDebounce?.milliseconds),
            ackDeadlineMs: fitting("ackDeadline", ackDeadline?.milliseconds),
            maxRetries: fitting("maxRetries", maxRetries),
            serverFaultAttempts: fitting("serverFaultAttempts", serverFaultAttempts),
            serverFaultAgeMs: fitting("serverFaultAge", serverFaultAge?.milliseconds),
            pageSize: fitting("pageSize", pageSize),
            batchSize: fitting("batchSize", batchSize),
            metered: metered?.ffi,
            durability: durability?.ffi,
            readers: fitting("readers", readers),
            walLimit: fitting("walLimit", walLimit),
            transactionIdleMs: fitting("transactionIdle", transactionIdle?.milliseconds),
            actionBudget: RejoinFFI.ActionBudget(
                runMs: fitting("actionBudget.run", actionBudget.run?.milliseconds),
                rebaseMs: fitting("actionBudget.rebase", actionBudget.rebase?.milliseconds),
                bytes: fitting("actionBudget.bytes", actionBudget.bytes)))
        guard problems.isEmpty else {
            throw RejoinError.configuration(reason: "configuration: \(problems.joined(separator: "; "))")
        }
        return config
    }
}

extension Duration {
    /// Whole milliseconds, rounded away from zero, so that a small value does not become zero and a negative one stays
    /// negative; `Int.max` or `Int.min` beyond the range.
    var milliseconds: Int {
        let (seconds, attoseconds) = components
        let (whole, overflow) = Int(seconds).multipliedReportingOverflow(by: 1000)
        if overflow { return seconds < 0 ? Int.min : Int.max }
        let (part, rest) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        let (sum, tooLong) = whole.addingReportingOverflow(Int(part + rest.signum()))
        if tooLong { return seconds < 0 ? Int.min : Int.max }
        return sum
    }
}
