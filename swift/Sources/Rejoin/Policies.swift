// The choices of a configuration: limits for actions, and what to do about networks, power cuts and conflicts.

import Foundation

/// Limits for actions, declared or in code; all writers wait while an action runs. `nil` means the engine's default.
///
/// ```swift
/// config.actionBudget.bytes = 32 << 20
/// ```
public struct ActionBudget: Sendable, Hashable {
    /// Maximum duration of one run; for code, of one statement. Beyond it the run fails with
    /// ``RejoinError/actionTooSlow(_:)``. Default 2 s; 0.1 s to 1 min.
    public var run: Duration?
    /// Maximum total duration of all runs caused by one batch of remote rows. At the limit, code is cancelled and the
    /// remaining actions are applied as recorded where possible. Default 2 s; 0.1 s to 1 min.
    public var rebase: Duration?
    /// Maximum number of bytes that one run may write to synced tables, counting old and new values of each changed
    /// row. Beyond it the run fails with ``RejoinError/actionTooLarge(_:)``. Default 8 MiB; 1 KiB to 1 GiB.
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
