// Subscriptions to streams: rows that the device holds only while the app subscribes to them.

import Foundation
internal import RejoinFFI

/// A value that can be a parameter of a subscription: a text, an integer or a `UUID`.
///
/// An own type conforms by returning the text of its value.
public protocol StreamParameter: Sendable {
    /// The value as text: an integer in decimal digits, a UUID in lower case with hyphens.
    var streamParameter: String { get }
}

extension String: StreamParameter {
    /// The text itself.
    public var streamParameter: String { self }
}

extension UUID: StreamParameter {
    /// The UUID in lower case.
    public var streamParameter: String { uuidString.lowercased() }
}

extension StreamParameter where Self: FixedWidthInteger {
    /// The integer in decimal digits.
    public var streamParameter: String { String(self) }
}

extension Int: StreamParameter {}
extension Int32: StreamParameter {}
extension Int64: StreamParameter {}
extension UInt32: StreamParameter {}

/// Whether the rows of a subscription are on the device.
public enum StreamStatus: Sendable, Hashable {
    /// No sync has returned its state yet.
    case waiting
    /// Its rows are being fetched.
    case loading
    /// All its rows are here, as of the last sync. Also after a restart and offline.
    case current
    /// The server refuses it; it brings no rows. Each sync tries it again. The code is for programs, the message for
    /// developers.
    case refused(code: RefusalCode, message: String)
}

/// Why the server refuses a subscription. A later release may add cases: end a `switch` with `default`.
public enum RefusalCode: Sendable, Hashable {
    /// The server has no stream of this name.
    case unknownStream
    /// A parameter is missing, unknown, or no value of its type.
    case invalidParameter
    /// The user may not read these rows.
    case forbidden
    /// The server's query for the right failed or returned several rows.
    case queryFailed
    /// A reason of a later release of the server.
    case unknown
}

/// A subscription of the file; from ``SyncHandle/subscriptions``.
public struct SubscribedStream: Sendable, Hashable {
    /// The stream's name.
    public let stream: String
    /// The parameters by name, as texts.
    public let parameters: [String: String]
    /// Lower ones are loaded first.
    public let priority: Int
    /// How long it lasts after the app no longer holds it.
    public let ttl: Duration
    /// When it ends, by the device's clock; `nil` while the app holds it.
    public let ends: Date?
    /// Whether its rows are here.
    public let status: StreamStatus
}

/// A subscription to a stream that the app holds: it does not expire. From ``SyncHandle/subscribe(_:_:ttl:priority:)``.
///
/// When the last one to the same rows is released, its ttl begins: with the object, or by ``release()``. It holds its
/// client.
public final class StreamSubscription: Sendable {
    /// The stream's name.
    public let stream: String
    /// The parameters by name, as texts.
    public let parameters: [String: String]
    private let ffi: RejoinFFI.StreamSubscription
    private let client: RejoinClient

    init(_ ffi: RejoinFFI.StreamSubscription, _ stream: String, _ parameters: [String: String], _ client: RejoinClient) {
        self.ffi = ffi
        self.stream = stream
        self.parameters = parameters
        self.client = client
    }

    deinit { ffi.release() }

    /// Whether the rows are here; ``SyncHandle/subscriptionUpdates`` has the changes. Waiting also after ``release()`` and
    /// ``unsubscribe()``, and after a reset of the file has removed the subscription.
    public var status: StreamStatus { StreamStatus(ffi.status()) }

    /// Waits until all rows are here; returns at once if they are. Starts syncing if it is stopped.
    ///
    /// - Parameter timeout: how long to wait, rounded up to whole milliseconds; `nil` waits until there is a network.
    /// - Throws: ``RejoinError/subscriptionRefused(_:)`` with the server's reason; ``RejoinError/offline(_:)`` after the
    ///   timeout; ``RejoinError/invalidInput(_:)`` after ``release()`` and ``unsubscribe()``, or if a reset of the file has
    ///   removed the subscription; `CancellationError` if the task is cancelled.
    public func firstSync(timeout: Duration? = nil) async throws {
        try client.outsideOfTransaction()
        let limit = try timeout.map(milliseconds)
        do {
            // As SyncHandle.firstSync: the engine starts, but does not do the wait.
            return try await check()
        } catch RejoinError.offline where limit != 0 {}
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let timeout { group.addTask { try await endAfter(timeout) } }
            group.addTask { try await self.client.sync.followStatus(until: { _ in false }) }
            group.addTask { try await self.follow() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func check() async throws {
        try await abandonable { [ffi] in try await ffi.firstSync(timeoutMs: 0) }
    }

    /// Follows the subscription until its rows are here, or cannot come by waiting.
    private func follow() async throws {
        for await list in client.sync.subscriptionUpdates {
            let one = list.first { $0.stream == stream && $0.parameters == parameters }
            if one?.status == .waiting || one?.status == .loading { continue }
            do { return try await check() } catch RejoinError.offline {}
        }
        try Task.checkCancellation()
        throw RejoinError.closed("the client was shut down")
    }

    /// Ends the subscription now, unless the app holds another one to the same rows. While syncing runs, a pass begins, and
    /// the rows leave the device; offline they leave with the next one. Edits of these rows that wait are sent first.
    ///
    /// Ending twice has no effect.
    ///
    /// - Throws: ``RejoinError/suspended(_:)`` or another error of writing the file: then its ttl begins instead.
    public func unsubscribe() async throws {
        try client.outsideOfTransaction()
        try await translated { try await ffi.unsubscribe() }
    }

    /// The ttl begins, unless the app holds another subscription to the same rows. Releasing twice has no effect.
    public func release() { ffi.release() }
}

extension SyncHandle {
    /// Subscribes to the rows of a stream of the server, which the parameters select.
    ///
    /// ```swift
    /// let project = try await client.sync.subscribe("project", ["project": 42], ttl: .seconds(86_400), priority: 1)
    /// try await project.firstSync()
    /// ```
    ///
    /// The subscription is stored in the file and survives a restart. Offline it is stored too, and the rows come with the
    /// next sync; while syncing runs, that begins now. The app holds it as long as the returned object exists, or until
    /// ``StreamSubscription/release()``. A second subscription to the same rows is the same one, with the longer ttl and the
    /// lower priority.
    ///
    /// A server without streams, or a Synchro server, refuses it: its status is ``StreamStatus/refused(code:message:)``
    /// after the next sync.
    ///
    /// - Parameter stream: the stream's name.
    /// - Parameter parameters: the value of each parameter: a text, an integer or a `UUID`.
    /// - Parameter ttl: how long it lasts after the app no longer holds it, by the device's clock; then the rows leave the
    ///   device. `nil` is 24 hours.
    /// - Parameter priority: lower ones are loaded first. `nil` is 3.
    /// - Throws: ``RejoinError/invalidInput(_:)`` for a negative `ttl`, an empty name, or more subscriptions than a device
    ///   can send; nothing was changed.
    public func subscribe(
        _ stream: String, _ parameters: [String: any StreamParameter] = [:], ttl: Duration? = nil, priority: UInt8? = nil
    ) async throws -> StreamSubscription {
        if let ttl, ttl < .zero { throw RejoinError.invalidInput("a ttl of \(ttl) is below zero; zero ends at once") }
        let texts = parameters.mapValues(\.streamParameter)
        let held = try await client.callEngine {
            try await $0.subscribe(stream: stream, parameters: texts, ttlMs: ttl.map { Int64($0.milliseconds) }, priority: priority)
        }
        return StreamSubscription(held, stream, texts, client)
    }

    /// The subscriptions of the file, by priority: those that the app holds, and those whose ttl runs. Works offline, and
    /// while suspended.
    public var subscriptions: [SubscribedStream] { client.ffi.subscriptions().map(SubscribedStream.init) }

    /// The subscriptions now and after each change, such as of a status, until the client is shut down.
    ///
    /// A slow reader skips to the latest list. Leaving the loop or cancelling its task ends the stream. The next sync
    /// reports the end of a ttl.
    public var subscriptionUpdates: AsyncStream<[SubscribedStream]> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let observer = SubscriptionsBridge {
                continuation.yield($0)
            } end: {
                continuation.finish()
            }
            let subscription = client.ffi.onSubscriptions(observer: observer)
            continuation.onTermination = { _ in subscription.cancel() }
        }
    }
}
