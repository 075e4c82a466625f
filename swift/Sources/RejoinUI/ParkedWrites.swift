// The parked mutations as an observable model, with the user's decisions.
//
// ParkedReading.swift reads them. The task of the model holds it weakly, so it ends when the model is released.

import Observation
import Rejoin

/// The mutations that the server did not accept, until the user decides about them.
///
/// ```swift
/// let parked = ParkedWrites(client)
/// for write in parked.writes {
///     for column in write.rows[0].columns { show(column.name, column.mine, column.theirs) }
/// }
/// try await parked.keepMine(write.id)
/// ```
///
/// The list follows the queue and later changes of the rows, so the user sees what a decision compares with. Everything
/// works offline. A decision that throws has changed nothing.
@available(iOS 17, macOS 14, *)
@MainActor @Observable
public final class ParkedWrites {
    /// The mutations to decide, in the order of the queue. One that depends on another is in its `dependents`.
    public private(set) var writes: [ParkedWrite] = []
    /// Why the list could not be read; `nil` after a read that succeeded. The last list stays.
    public private(set) var error: (any Error)?
    /// Whether the list has not been read yet.
    public private(set) var isLoading = true

    @ObservationIgnored private let database: any SyncedDatabase
    @ObservationIgnored private var task: Task<Void, Never>?
    @ObservationIgnored private var reads = (begun: 0, shown: 0)

    /// The parked mutations of a database.
    public init(_ database: any SyncedDatabase) {
        self.database = database
        // Subscribed before the first read, so that no change between the two is missed.
        task = Task { [weak self, changes = database.changes()] in
            await self?.refresh()
            for await change in changes where self?.concerns(change) == true { await self?.refresh() }
        }
    }

    deinit { task?.cancel() }

    /// The mutation to decide for an id: that mutation, or the one that it was parked because of. `nil` if the mutation is
    /// not parked.
    public func write(_ id: PendingMutation.ID) -> ParkedWrite? {
        writes.first { $0.id == id || $0.dependents.contains { $0.id == id } }
    }

    /// Sends a mutation again, with its dependents. After a conflict its columns replace the current values.
    ///
    /// - Throws: as `queue.retryChain`.
    public func keepMine(_ id: ParkedWrite.ID) async throws {
        try await decide { try await $0.retryChain(id) }
    }

    /// Removes a mutation, with its dependents. The rows keep the current values.
    ///
    /// - Throws: as `queue.discardChain`.
    public func takeTheirs(_ id: ParkedWrite.ID) async throws {
        try await decide { try await $0.discardChain(id) }
    }

    /// Replaces a mutation by its writes with these statements on top, and sends it with its dependents. Without
    /// statements it is sent unchanged. See ``ParkedWrite/statements(_:)``.
    ///
    /// - Throws: as `queue.edit`. If sending the dependents fails, the edit is done and they stay parked.
    public func edit(_ id: ParkedWrite.ID, _ statements: [Statement]) async throws {
        try await decide { queue in
            guard let sent = statements.isEmpty ? id : try await queue.edit(id, statements) else { return }
            try await queue.retryChain(sent)
        }
    }

    /// As the form with statements, with a transaction on the current rows, in which the mutation's writes are applied.
    public func edit(_ id: ParkedWrite.ID, _ body: (WriteTransaction) async throws -> Void) async throws {
        try await decide { queue in
            if let sent = try await queue.edit(id, body) { try await queue.retryChain(sent) }
        }
    }

    /// Reads the list again. Changes of the queue do this by themselves.
    public func refresh() async {
        reads.begun += 1
        let read = reads.begun
        let result: Result<[ParkedWrite], any Error>
        do { result = .success(try await ParkedWrite.read(database.client)) } catch { result = .failure(error) }
        // A read that began earlier may end later.
        guard read > reads.shown else { return }
        reads.shown = read
        show(result)
    }

    private func show(_ result: Result<[ParkedWrite], any Error>) {
        switch result {
        case .success(let writes):
            self.writes = writes
            error = nil
        // After `resume` the next change reads the list again.
        case .failure(RejoinError.suspended): return
        case .failure(let error): self.error = error
        }
        isLoading = false
    }

    private func concerns(_ change: Change) -> Bool {
        change.queue || writes.contains { $0.rows.contains { change.tables.keys.contains($0.table) } }
    }

    /// Also reads the list after an error: the mutation may have been decided elsewhere meanwhile.
    private func decide(_ decision: (QueueHandle) async throws -> Void) async throws {
        do { try await decision(database.client.queue) } catch {
            await refresh()
            throw error
        }
        await refresh()
    }
}
