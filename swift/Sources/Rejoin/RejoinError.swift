// All errors, one case per decision that an app can take. Bridge/Errors.swift translates the engine's errors.

import Foundation

/// Any error that Rejoin throws; each case documents what happened to the data.
///
/// ```swift
/// do {
///     try await client.execute("INSERT INTO task (id, title) VALUES (?, ?)", ["a", nil])
/// } catch RejoinError.constraint(_, let table, let column, _) {
///     print("\(table).\(column) must be given")
/// }
/// ```
///
/// Expected outcomes are not errors: a rejected mutation is a ``Verdict``, being offline is a ``SyncStatus``. Errors of
/// the app's own code, for example in a transaction's body, pass through unchanged.
public enum RejoinError: Error, Sendable, Equatable {
    /// The call is invalid: SQL that does not compile, a value of the wrong type, an operation that is not allowed, or a
    /// call inside the client's own transaction that would wait for its end. Nothing was changed; within a transaction,
    /// the statement was rolled back.
    case invalidInput(reason: String)
    /// A declared rule is violated; the statement was rolled back. `rule` is `NOT NULL`, `UNIQUE`, `CHECK name` or
    /// `FOREIGN KEY`; `column` may be several names joined by a comma.
    case constraint(reason: String, table: String, column: String, rule: String)
    /// An action was not performed; it was rolled back. `words` is the app's message for a refusal, the problem for wrong
    /// arguments, the table for two equal rows; else empty. ``ActionContext/refuse(_:)`` creates one.
    case action(reason: String, action: String, fault: ActionFault, words: String)
    /// One run of an action exceeded `most`, which is ``ActionBudget/run``; it was rolled back. Do less per run, or raise
    /// the limit.
    case actionTooSlow(reason: String, action: String, most: Duration)
    /// One run of an action wrote more than `mostBytes`, which is ``ActionBudget/bytes``; it was rolled back. Write less
    /// per run, or raise the limit.
    case actionTooLarge(reason: String, action: String, mostBytes: Int)
    /// The mutation depends on a row that the parked mutation `id` creates. Nothing was changed; retry that one, with its
    /// chain.
    case standsOn(reason: String, id: PendingMutation.ID)
    /// A reset would delete waiting or parked mutations that were not named; `waiting` is their number. Nothing was
    /// changed.
    case unsent(reason: String, waiting: Int)
    /// The `rows` that the undo would restore have changed since. Nothing was changed.
    case changed(reason: String, rows: [ChangedRow])
    /// The file failed: damaged, full, read-only, locked by another process, or written by a newer release. Nothing was
    /// changed.
    case storage(reason: String)
    /// The file belongs to another user; nothing was changed.
    case wrongUser(reason: String)
    /// The configuration is invalid. The reason lists all problems of one check: first values that cannot be passed to
    /// the engine, otherwise the engine's own checks.
    case configuration(reason: String)
    /// The client is suspended, or was suspended during the call; the transaction was rolled back.
    case suspended(reason: String)
    /// The client was shut down.
    case ended(reason: String)
    /// A transaction or a read was idle for too long and was rolled back.
    case transactionTimeout(reason: String)
    /// No server was reachable; the queue is intact and will be sent.
    case offline(reason: String)
    /// Credentials are missing or rejected; the queue waits for new ones.
    case unauthorized(reason: String)
    /// The server requires a newer version of the app; the queue waits.
    case upgradeRequired(reason: String)
    /// The server responded with an error; the queue is intact. `retryable` says whether the same request may succeed
    /// later.
    case server(reason: String, status: Int, code: String, retryable: Bool)
    /// The server's response violates the protocol; nothing of it was applied.
    case `protocol`(reason: String)
    /// A callback of the app failed: a token provider, a transport, an observer, or the code of an action.
    case callback(reason: String)
    /// A bug of the engine, or damaged bytes; the transaction was rolled back.
    case `internal`(reason: String)

    /// What happened, as a lower-case fragment.
    public var reason: String {
        switch self {
        case .invalidInput(let reason), .storage(let reason), .wrongUser(let reason), .configuration(let reason),
            .suspended(let reason), .ended(let reason), .transactionTimeout(let reason), .offline(let reason),
            .unauthorized(let reason), .upgradeRequired(let reason), .protocol(let reason), .callback(let reason),
            .internal(let reason):
            reason
        case .constraint(let reason, _, _, _), .server(let reason, _, _, _), .action(let reason, _, _, _):
            reason
        case .actionTooSlow(let reason, _, _), .actionTooLarge(let reason, _, _):
            reason
        case .standsOn(let reason, _), .unsent(let reason, _), .changed(let reason, _):
            reason
        }
    }
}

/// Why an action was not performed.
public enum ActionFault: Sendable, Hashable {
    /// No action of this name is registered.
    case unknown
    /// The arguments do not match the parameters.
    case arguments
    /// A rule of the app refused it.
    case refused
    /// It creates two rows with the same identity, which would get the same id.
    case sameRow
    /// Its code did not finish in time.
    case timedOut
}

/// A row that changed after a mutation.
public struct ChangedRow: Sendable, Hashable {
    /// The table's name.
    public let table: String
    /// The row's key.
    public let key: SQLValue
    /// The columns with another value; empty if the row was deleted or restored.
    public let columns: [String]
    /// The values that the mutation wrote, by column; `nil` if it deleted the row.
    public let wrote: [String: SQLValue]?
    /// The current row, by column; `nil` if there is none.
    public let present: [String: SQLValue]?
}

extension RejoinError: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? { reason }
    public var description: String { reason }
}
