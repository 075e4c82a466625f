// The database file: checkpoints, reset and diagnosis. Storage+Import.swift imports an older file.

import Foundation
internal import RejoinFFI

/// Maintains the database file.
///
/// ```swift
/// _ = try await client.storage.checkpoint(.truncate)
/// ```
///
/// A handle is the client under another name: it costs nothing to get.
public struct StorageHandle: Sendable {
    let client: RejoinClient
}

extension RejoinClient {
    /// The database file.
    public var storage: StorageHandle { StorageHandle(client: self) }
}

extension StorageHandle {
    /// Returns a JSON bundle for a bug report: versions, configuration, pending mutations with their reasons, schema
    /// and sizes.
    ///
    /// It contains no row data and no credentials.
    public func diagnose() async throws -> String {
        try await client.callEngine { try await $0.diagnose() }
    }

    /// Writes the write-ahead log to the database file.
    ///
    /// Rarely needed, because the engine does so itself; for example before copying the file.
    ///
    /// - Parameter mode: the checkpoint mode; after ``CheckpointMode/truncate`` everything is in the one file.
    /// - Returns: what was written.
    public func checkpoint(_ mode: CheckpointMode) async throws -> Checkpointed {
        Checkpointed(try await client.callEngine { try await $0.checkpoint(mode: mode.ffi) })
    }

    /// Resets the file; `keep` says what stays. The tables themselves stay, and watches continue.
    ///
    /// Waiting mutations are the user's work and are deleted only if they are named. The reset is one transaction, also
    /// across a crash, and works offline. If syncing is on, the current pass ends and the next one asks the token
    /// provider again: sign the next user in first.
    ///
    /// - Parameter keep: what stays.
    /// - Parameter giveUp: the ids of all mutations of ``QueueHandle/all()``, parked ones included; none if the
    ///   queue stays.
    /// - Throws: ``RejoinError/unsent(_:)`` if a waiting mutation is not named, and
    ///   ``RejoinError/invalidInput(_:)`` if mutations are named and the queue stays; nothing was changed.
    @discardableResult
    public func reset(keep: Keep, giveUp: [PendingMutation.ID] = []) async throws -> ResetReport {
        ResetReport(try await client.callEngine { try await $0.reset(keep: keep.ffi, giveUp: giveUp) })
    }

    /// Empties the file for the next user of the device: ``reset(keep:giveUp:)`` that keeps the local-only tables.
    ///
    /// ```swift
    /// let waiting = try await client.queue.all()
    /// if await user.agrees(toLose: waiting) {
    ///     try await client.storage.clearForNextUser(discarding: waiting.map(\.id))
    /// }
    /// ```
    ///
    /// - Parameter discarding: the ids of all mutations of ``QueueHandle/all()``, parked ones included.
    /// - Throws: ``RejoinError/unsent(_:)`` if a waiting mutation is not named; nothing was changed.
    @discardableResult
    public func clearForNextUser(discarding: [PendingMutation.ID] = []) async throws -> ResetReport {
        try await reset(keep: .local, giveUp: discarding)
    }
}

/// What a reset keeps.
public enum Keep: Sendable, Hashable {
    /// Keeps the queue, the history, the user and local-only tables. Synced rows are deleted, and the next sync fetches
    /// them again.
    case pending
    /// Keeps local-only tables. Rows, queue, history, device id and user are deleted, so that the next user can use the
    /// file.
    case local
    /// Keeps only the schema; all tables are emptied.
    case nothing
}

/// What a reset deleted.
public struct ResetReport: Sendable, Hashable {
    /// The discarded waiting and parked mutations, with all values that they wrote.
    public let givenUp: [PendingMutation]
    /// Number of deleted rows of synced tables, pending changes included.
    public let rows: Int
    /// Number of deleted rows of local-only tables.
    public let localRows: Int
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
