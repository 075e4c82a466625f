// A database by hand: the test emits results, changes and statuses, and counts the watches.

import Foundation
import Rejoin

final class FakeDatabase: RejoinDatabase, @unchecked Sendable {
    private let lock = NSLock()
    private var started: [Watched] = []
    private var ended = 0
    private let changed = AsyncStream<Change>.makeStream()
    private let statuses = AsyncStream<SyncStatus>.makeStream()

    /// A watch that has begun.
    struct Watched: Sendable {
        let statement: Statement
        fileprivate let continuation: AsyncThrowingStream<RowBuffer, any Error>.Continuation

        func emit(_ ids: [String]) {
            continuation.yield(RowBuffer(columns: ["id"], rows: ids.map { [.text($0)] }))
        }

        func fail(_ error: any Error) { continuation.finish(throwing: error) }
    }

    var watches: [Watched] { lock.withLock { started } }

    /// The watch with this number, from 0, once it has begun.
    func began(_ number: Int) async throws -> Watched {
        while watches.count <= number { try await Task.sleep(for: .milliseconds(5)) }
        return watches[number]
    }

    var endedWatches: Int { lock.withLock { ended } }

    func commit() { changed.continuation.yield(Change(origin: .local, tables: [:])) }
    func report(_ state: SyncState) { statuses.continuation.yield(SyncStatus(state: state, firstSync: .done)) }

    func watch(_ sql: String, _ params: SQLParameters) -> AsyncThrowingStream<RowBuffer, any Error> {
        AsyncThrowingStream { continuation in
            continuation.onTermination = { _ in self.lock.withLock { self.ended += 1 } }
            lock.withLock { started.append(Watched(statement: Statement(sql, params), continuation: continuation)) }
        }
    }

    let status = SyncStatus(state: .idle, firstSync: .absent)
    var statusUpdates: AsyncStream<SyncStatus> { statuses.stream }
    func changes(_ tables: [String]) -> AsyncStream<Change> { changed.stream }

    func query(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer { throw Own("not faked") }
    func queryMany(_ statements: [Statement]) async throws -> [RowBuffer] { throw Own("not faked") }
    func execute(_ sql: String, _ params: SQLParameters) async throws -> Int { throw Own("not faked") }
    func executeReturning(_ sql: String, _ params: SQLParameters) async throws -> RowBuffer { throw Own("not faked") }
    func executeScript(_ sql: String) async throws { throw Own("not faked") }
    func batch(_ statements: [Statement]) async throws -> [Int] { throw Own("not faked") }
    func perform(_ name: String, json: String) async throws -> Performed { throw Own("not faked") }
}
