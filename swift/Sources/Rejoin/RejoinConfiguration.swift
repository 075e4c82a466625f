// What an app configures: every field with its default and its limits. Border: checks nothing but what Swift's types hold and
// the engine's cannot; the engine names every other problem when the client is opened.

import Foundation
internal import RejoinFFI

/// How a client is opened and how it syncs. Every field but the path has a default.
///
/// Checked when the client is opened: first what the engine cannot be told at all (a number below zero, a duration beyond 49 days), all
/// of that at once; then the limits below, all of those at once. A part of a millisecond counts as a whole one.
///
/// ```swift
/// var configuration = RejoinConfiguration(path: folder.appendingPathComponent("todo.db"))
/// configuration.serverURL = URL(string: "https://sync.example.com")
/// configuration.syncInterval = .seconds(60)
/// ```
public struct RejoinConfiguration: Sendable {
    /// The database's file; made if there is none. Its folder must exist.
    public var path: URL
    /// The server. Without one the client works, and keeps what is written until there is one. `http://` is for a loopback
    /// address; see ``allowHTTP``.
    public var serverURL: URL?
    /// Whether ``serverURL`` may be `http://` to a host that is not a loopback address. Others on the network can then read
    /// and change the rows, and steal the token. For development in a local network. Default: no.
    public var allowHTTP = false
    /// Whose data this file holds. Default: what the server says when the device registers; a plain Synchro server does not say
    /// it, there it is the `sub` of the token, if that is a JWT.
    public var userID: String?
    /// What to call this device in the server's list. Default `device`.
    public var deviceName: String?
    /// The kind of device. Default: the operating system's name.
    public var platform: String?
    /// The app's version, as `1.2.3`; the server may ask for a newer one. Default `0.0.0`.
    public var appVersion: String?
    /// The schema's manifest as JSON, bundled with the app, so that the first start works offline. Default: fetched from the
    /// server.
    public var schema: String?
    /// What this device does about conflicts, by table. Default: what the server's manifest says of the table.
    public var policies: [String: ConflictPolicy] = [:]
    /// How long after a pass the next begins by itself. Default 30 s; from a second to a day.
    public var syncInterval: Duration?
    /// How long local writes are gathered before a push. Default 0.5 s; up to a minute.
    public var pushDebounce: Duration?
    /// How long an answer may take before the request counts as lost. Default 10 s; from a second to ten minutes.
    public var ackDeadline: Duration?
    /// How often a failed exchange is tried before the status says failed; it goes on trying at each interval. Default 5; up
    /// to 100.
    public var maxRetries: Int?
    /// How often the server may fail on one local write before that is parked. Default 50; from 1 to 10,000.
    public var serverFaultAttempts: Int?
    /// How long the server may fail on it. Default a day; from a minute to 30 days.
    public var serverFaultAge: Duration?
    /// Rows asked for in one answer. Default 1,000; from 100 to 1,000.
    public var pageSize: Int?
    /// Mutations sent in one request. Default 100; from 100 to 1,000.
    public var batchSize: Int?
    /// What may use a metered network. Default: everything.
    public var metered: MeteredPolicy?
    /// What an acknowledged local write survives. Default: the end of the app, not a power cut.
    public var durability: Durability?
    /// Connections that read. Default 4; from 1 to 16.
    public var readers: Int?
    /// The write-ahead log is brought back into the database beyond this many bytes. Default 4 MiB; from 64 KiB to 1 GiB.
    public var walLimit: Int?
    /// How long a transaction, a read or an action may wait for its next statement before it is rolled back. Default 5 s; from 0.1 s
    /// to a minute.
    public var transactionIdle: Duration?
    /// What actions may take. Default: what stands at ``ActionBudget``.
    public var actionBudget = ActionBudget()
    /// What ``RejoinClient/perform(_:_:)`` can perform. Default: nothing.
    public var actions = Actions()
    /// Who the user is to the server. Without it, requests carry ``userID``, which a server believes on its own machine only.
    public var tokens: (any TokenProvider)?
    /// What carries requests, in place of the built-in HTTP.
    public var transport: (any HTTPTransport)?

    /// The defaults, for this file.
    ///
    /// - Parameter path: the database's file.
    /// - Parameter serverURL: the server, if there is one.
    /// - Parameter tokens: who the user is to the server.
    public init(path: URL, serverURL: URL? = nil, tokens: (any TokenProvider)? = nil) {
        self.path = path
        self.serverURL = serverURL
        self.tokens = tokens
    }
}

/// What actions may take, be they data or code: everybody who writes waits for them. What is `nil` has the engine's default.
///
/// ```swift
/// configuration.actionBudget.bytes = 32 << 20
/// ```
public struct ActionBudget: Sendable, Hashable {
    /// How long one run may take; of code it is one statement. One that takes longer is
    /// ``RejoinError/actionTooSlow(reason:action:most:)``. Default 2 s; from 0.1 s to a minute.
    public var run: Duration?
    /// How long all those together may run that one batch of remote rows makes run again. Code is given up at its end, and what is
    /// not done by then is laid down as it was recorded, if it fits. Default 2 s; from 0.1 s to a minute.
    public var rebase: Duration?
    /// How many bytes one run may write to synced tables: old and new values of each changed row. One that writes more is
    /// ``RejoinError/actionTooLarge(reason:action:mostBytes:)``. Default 8 MiB; from 1 KiB to 1 GiB.
    public var bytes: Int?

    /// The defaults for what is left out.
    public init(run: Duration? = nil, rebase: Duration? = nil, bytes: Int? = nil) {
        self.run = run
        self.rebase = rebase
        self.bytes = bytes
    }
}

/// When background syncing may use a metered network. A sync that the app asks for by name is never held back.
public enum MeteredPolicy: Sendable, Hashable {
    /// As on any other network.
    case allow
    /// Local writes are pushed, but what is new on the server waits for an unmetered network.
    case pushOnly
    /// Nothing is exchanged until the network is unmetered.
    case never
}

/// What an acknowledged local write survives. Either survives the end of the app, by a crash or by the system.
public enum Durability: Sendable, Hashable {
    /// A power cut or a crash of the operating system may lose the last writes; what is left is a state that the app had.
    case normal
    /// A power cut as well, if the disk keeps its word: each commit waits until the disk has it.
    case full
}

/// What this device does where a foreign change meets an edit of plain SQL. An action is run again instead.
public enum ConflictPolicy: Sendable, Hashable {
    /// The server's row stands; the edit is parked with both rows.
    case acceptServer
    /// The edit's columns go over the server's row, and are sent again; the edit of a deleted row is parked.
    case rebase
    /// As ``rebase``; and the edit of a deleted row brings the row back.
    case keepLocal
    /// As ``acceptServer``, with what the edit had found kept beside both rows, for the app to merge.
    case manual
    /// The server compares the times of both; the earlier one is parked as superseded.
    case lastWriteWins
}

extension RejoinConfiguration {
    /// As the engine takes it. A number too large or negative for it is a problem like any other, and all are named.
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
    /// Whole milliseconds, rounded away from zero so that what is not nothing does not become nothing, and what is negative stays
    /// so; `Int.max` or `Int.min` for what is longer.
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
