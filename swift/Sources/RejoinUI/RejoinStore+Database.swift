// The calls of a store. Each waits for the client and forwards to it; a stream does not keep the file open in the background.

import Rejoin

extension RejoinStore {
    public func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await withClient { try await $0.query(sql, params) }
    }

    public func queryMany(_ statements: [Statement]) async throws -> [RowBuffer] {
        try await withClient { try await $0.queryMany(statements) }
    }

    @discardableResult
    public func execute(_ sql: String, _ params: SQLParameters) async throws -> Int {
        try await withClient { try await $0.execute(sql, params) }
    }

    public func executeReturning(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer {
        try await withClient { try await $0.executeReturning(sql, params) }
    }

    public func executeScript(_ sql: String) async throws { try await withClient { try await $0.executeScript(sql) } }

    @discardableResult
    public func batch(_ statements: [Statement]) async throws -> [Int] {
        try await withClient { try await $0.batch(statements) }
    }

    @discardableResult
    public func perform(_ name: String, json: String) async throws -> Performed {
        try await withClient { try await $0.perform(name, json: json) }
    }

    /// Runs a transaction; see `RejoinClient.transaction`.
    @discardableResult
    public func transaction<Result: Sendable>(
        _ body: @Sendable (WriteTransaction) async throws -> Result
    ) async throws -> Result {
        try await withClient { try await $0.transaction(body) }
    }

    /// As `RejoinClient.watch`; throws in the loop if the file cannot be opened.
    public func watch(_ sql: String, _ params: SQLParameters) -> AsyncThrowingStream<RowBuffer, any Error> {
        let started = Started { try await self.client.watch(sql, params) }
        return AsyncThrowingStream(unfolding: {
            var iterator = try await started.stream().makeAsyncIterator()
            return try await iterator.next()
        })
    }

    /// As `RejoinClient.changes`. While the file is not open, the stream waits for it; its first change then reports the
    /// opening: it has no tables, and its `queue` is true.
    public func changes(_ tables: [String]) -> AsyncStream<Change> {
        if let openClient { return openClient.changes(tables) }
        return whenOpen(.unbounded) { client, continuation in
            let changes = client.changes(tables)
            continuation.yield(Change(origin: .local, tables: [:], queue: true))
            for await change in changes { continuation.yield(change) }
        }
    }

    /// The current sync status; `idle` while the file is not open.
    public var status: SyncStatus { openClient?.status ?? SyncStatus(state: .idle, firstSync: .absent) }

    /// As `RejoinClient.statusUpdates`. While the file is not open, the stream waits for it.
    public var statusUpdates: AsyncStream<SyncStatus> {
        if let openClient { return openClient.statusUpdates }
        return whenOpen(.bufferingNewest(1)) { client, continuation in
            for await status in client.statusUpdates { continuation.yield(status) }
        }
    }

    private func whenOpen<Element: Sendable>(
        _ policy: AsyncStream<Element>.Continuation.BufferingPolicy,
        _ forward: @escaping @Sendable (RejoinClient, AsyncStream<Element>.Continuation) async -> Void
    ) -> AsyncStream<Element> {
        AsyncStream(bufferingPolicy: policy) { continuation in
            let task = Task.detached {
                if let client = await self.keepOpening() { await forward(client, continuation) }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// Opens the file until it succeeds or the task is cancelled: a file that is protected while the device is locked can
    /// be opened later.
    private func keepOpening() async -> RejoinClient? {
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            if let client = try? await client { return client }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(5))
        }
        return nil
    }
}

/// A stream that starts when its first element is requested.
private actor Started<Stream: Sendable> {
    private let start: @Sendable () async throws -> Stream
    private var started: Stream?

    init(_ start: @escaping @Sendable () async throws -> Stream) { self.start = start }

    func stream() async throws -> Stream {
        if let started { return started }
        let stream = try await start()
        started = stream
        return stream
    }
}
