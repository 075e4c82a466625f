// Watched queries, as streams that pull.
//
// Promise: nothing runs before somebody asks for the first result, nothing is called back, and nothing piles up: a slow reader
// skips what is stale, never the latest. Leaving the loop, and cancelling the task, end the watch.

import Foundation
internal import RejoinFFI

/// A new result of a watched query, and how it differs from the one before.
public struct WatchUpdate: Sendable {
    /// The whole result.
    public let rows: RowBuffer
    /// Against the update that the stream gave before.
    public let difference: RowDifference
}

/// How a result differs from the one before it. Rows are named by their places, from 0.
public struct RowDifference: Sendable, Hashable {
    /// Rows of this result whose key was not there before; all of them the first time.
    public let added: [Int]
    /// Rows of this result whose key was there with other values.
    public let changed: [Int]
    /// Rows of the result before whose key is not there any more.
    public let removed: [Int]
}

extension RejoinClient {
    /// The rows of a query, now and after every commit that changes them, whoever wrote.
    ///
    /// ```swift
    /// for try await tasks in client.watch("SELECT id, title FROM task ORDER BY title", as: Todo.self) {
    ///     self.tasks = tasks
    /// }
    /// ```
    ///
    /// A slow reader skips stale results, never the latest. Nothing runs until the first result is asked for. Leaving the loop
    /// ends the watch; so do cancelling its task and shutting the client down, which end the loop without an error. A stream
    /// is for one loop: ask again for another. Works offline, and on through ``suspend()`` and ``resume()``.
    ///
    /// - Parameter sql: one statement that reads.
    /// - Parameter params: what stands for its question marks.
    /// - Parameter type: the type of a row, or of the only column; see ``Row/decode(_:)``.
    /// - Throws: in the loop, as ``query(_:_:as:)`` does, also when the query fails later because its table is gone.
    public func watch<Value: Decodable & Sendable>(
        _ sql: String, _ params: SQLParameters = [], as type: Value.Type
    ) -> AsyncThrowingStream<[Value], any Error> {
        stream(sql, params, key: []) { try RowBuffer($0.rows).decode(type) }
    }

    /// The rows of a query, now and after every commit that changes them, as they are; otherwise as with a type.
    public func watch(_ sql: String, _ params: SQLParameters = []) -> AsyncThrowingStream<RowBuffer, any Error> {
        stream(sql, params, key: []) { try RowBuffer($0.rows) }
    }

    /// The rows of a query as ``watch(_:_:)`` gives them, each time with what was added, changed and removed since.
    ///
    /// ```swift
    /// for try await update in client.watch("SELECT id, title FROM task", key: ["id"]) {
    ///     list.apply(update.difference, update.rows)
    /// }
    /// ```
    ///
    /// - Parameter key: the names of the columns that identify a row.
    public func watch(_ sql: String, _ params: SQLParameters = [], key: [String])
        -> AsyncThrowingStream<WatchUpdate, any Error>
    {
        stream(sql, params, key: key) { update in
            let difference = update.difference.map(RowDifference.init)
            return WatchUpdate(
                rows: try RowBuffer(update.rows), difference: difference ?? .init(added: [], changed: [], removed: []))
        }
    }

    private func stream<Element: Sendable>(
        _ sql: String, _ params: SQLParameters, key: [String],
        _ read: @escaping @Sendable (RejoinFFI.WatchUpdate) throws -> Element
    ) -> AsyncThrowingStream<Element, any Error> {
        let puller = Puller { [ffi] in ffi.watch(sql: sql, params: params.ffi, key: key) }
        return AsyncThrowingStream(unfolding: { try await puller.next().map(read) })
    }
}

/// Begins a watch when the first result is asked for, and ends it with whoever asks.
private final class Puller: Sendable {
    private let begin: @Sendable () -> QueryWatch
    private let watch = Locked<QueryWatch?>(nil)

    init(_ begin: @escaping @Sendable () -> QueryWatch) { self.begin = begin }

    // The stream holds this, and is the only one to: when it goes, so does the watch.
    deinit { watch.with { $0?.cancel() } }

    func next() async throws -> RejoinFFI.WatchUpdate? {
        let watch = watch.with { watch in
            if let watch { return watch }
            let begun = begin()
            watch = begun
            return begun
        }
        // Cancelling a Swift task does not reach into the engine; `cancel` does, and `next` then gives nothing.
        return try await withTaskCancellationHandler {
            try await translated { try await watch.next() }
        } onCancel: {
            watch.cancel()
        }
    }
}
