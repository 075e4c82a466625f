// Watched queries, as streams that pull.
//
// Nothing runs before the first result is requested, and nothing is buffered: a slow reader skips stale results, never
// the latest. Leaving the loop or cancelling the task ends the watch.

import Foundation
internal import RejoinFFI

/// A new result of a watched query, and its difference from the previous one.
public struct WatchUpdate: Sendable {
    /// The whole result.
    public let rows: RowBuffer
    /// The difference from the stream's previous update.
    public let difference: RowDifference
}

/// The difference between two results. Rows are given by index, from 0.
public struct RowDifference: Sendable, Hashable {
    /// Rows of this result with a new key; all rows the first time.
    public let added: [Int]
    /// Rows of this result with a known key and other values.
    public let changed: [Int]
    /// Rows of the previous result whose key is gone.
    public let removed: [Int]
}

extension RejoinClient {
    /// The rows of a query now, and again after every commit that changes them, local or remote.
    ///
    /// ```swift
    /// for try await rows in client.watch("SELECT id, title FROM task ORDER BY title") {
    ///     list.show(rows)
    /// }
    /// ```
    ///
    /// A slow reader skips stale results, never the latest. Nothing runs until the first result is requested. Leaving
    /// the loop ends the watch; cancelling its task or shutting the client down ends the loop without an error. A
    /// stream serves one loop. Works offline, and across ``SyncHandle/suspend()`` and ``SyncHandle/resume()``.
    ///
    /// - Parameter sql: one read-only statement.
    /// - Parameter params: a value for each question mark.
    /// - Throws: in the loop, as ``query(_:_:)``, also later, for example when the table was dropped.
    public func watch(_ sql: String, _ params: SQLParameters) -> AsyncThrowingStream<RowBuffer, any Error> {
        updates({ [ffi] in ffi.watch(sql: sql, params: params.ffi) }) { try RowBuffer($0.rows) }
    }

    /// As ``watch(_:_:)``, with the rows added, changed and removed since the previous update.
    ///
    /// ```swift
    /// for try await update in client.watch("SELECT id, title FROM task", key: ["id"]) {
    ///     list.apply(update.difference, update.rows)
    /// }
    /// ```
    ///
    /// - Parameter statement: one read-only statement.
    /// - Parameter key: the names of the columns that identify a row.
    public func watch(_ statement: Statement, key: [String]) -> AsyncThrowingStream<WatchUpdate, any Error> {
        let (sql, params) = (statement.sql, statement.params)
        return updates({ [ffi] in ffi.watch(sql: sql, params: params.ffi, key: key) }) { update in
            let difference = update.difference.map(RowDifference.init)
            return WatchUpdate(
                rows: try RowBuffer(update.rows), difference: difference ?? .init(added: [], changed: [], removed: []))
        }
    }
}

/// The results of a watch, which starts when the first is requested.
func updates<Element: Sendable>(
    _ begin: @escaping @Sendable () -> QueryWatch, _ read: @escaping @Sendable (RejoinFFI.WatchUpdate) throws -> Element
) -> AsyncThrowingStream<Element, any Error> {
    let puller = Puller(begin)
    return AsyncThrowingStream(unfolding: { try await puller.next().map(read) })
}

/// Starts a watch when the first result is requested, and cancels it when released.
private final class Puller: Sendable {
    private let begin: @Sendable () -> QueryWatch
    private let watch = Locked<QueryWatch?>(nil)

    init(_ begin: @escaping @Sendable () -> QueryWatch) { self.begin = begin }

    // Only the stream references this, so the watch ends with the stream.
    deinit { watch.with { $0?.cancel() } }

    func next() async throws -> RejoinFFI.WatchUpdate? {
        let watch = watch.with { watch in
            if let watch { return watch }
            let begun = begin()
            watch = begun
            return begun
        }
        // Cancelling a Swift task does not reach the engine; `cancel` does, and `next` then returns nil.
        return try await withTaskCancellationHandler {
            try await translated { try await watch.next() }
        } onCancel: {
            watch.cancel()
        }
    }
}
