// What can go wrong, one case per decision that an app can take. Border: says nothing of how it was found out; the
// translation from the engine's own errors stands beside the bindings.

import Foundation

/// Anything that Rejoin throws; the doc of each case says what became of the data.
///
/// ```swift
/// do {
///     try await client.execute("INSERT INTO task (id, title) VALUES (?, ?)", ["a", nil])
/// } catch RejoinError.constraint(_, let table, let column, _) {
///     print("\(table).\(column) must be given")
/// }
/// ```
///
/// What is expected is no error: a write that the server refused long afterwards is a ``Verdict``, and being offline is a
/// ``SyncStatus``. Errors that an app's own code throws, in a transaction's body say, pass through as they are.
public enum RejoinError: Error, Sendable, Equatable {
    /// The SQL does not compile, a value cannot be read as asked, the engine does not let apps do this, or the client was called from
    /// inside its own transaction, for whose end it would wait. Nothing was changed; within a transaction, the statement was rolled back.
    case invalidInput(reason: String)
    /// A declared rule does not hold; the statement was rolled back. `rule` is `NOT NULL`, `UNIQUE`, `CHECK name` or
    /// `FOREIGN KEY`; `column` may name several, joined by a comma.
    case constraint(reason: String, table: String, column: String, rule: String)
    /// An action was not performed, and nothing of it was kept. `words` are the app's own for a refusal, what is wrong with the
    /// arguments, the table of two equal rows; else empty. ``ActionContext/refuse(_:)`` makes one.
    case action(reason: String, action: String, fault: ActionFault, words: String)
    /// One run of an action took longer than `most`, which is ``ActionBudget/run``; nothing of it was kept. Do less at a time, or
    /// allow more.
    case actionTooSlow(reason: String, action: String, most: Duration)
    /// One run of an action wrote more than `mostBytes`, which is ``ActionBudget/bytes``; nothing of it was kept. Do less at a time,
    /// or allow more.
    case actionTooLarge(reason: String, action: String, mostBytes: Int)
    /// The mutation stands on a row that another one makes, which is parked: `id` names that. Nothing was changed; retry that one,
    /// with its chain.
    case standsOn(reason: String, id: PendingMutation.ID)
    /// So many mutations wait or are parked that were not named, and a reset gives nobody's work up unnamed. Nothing was changed.
    case unsent(reason: String, waiting: Int)
    /// What was to be taken back does not stand any more: `rows` have changed since. Nothing was changed.
    case changed(reason: String, rows: [ChangedRow])
    /// The file failed: damaged, full, read-only, locked by another process, or of a newer release. Nothing was changed.
    case storage(reason: String)
    /// The file belongs to another user; nothing was touched.
    case wrongUser(reason: String)
    /// The configuration is wrong. Every problem that was looked for is named: those of numbers that the engine cannot be told come
    /// first, and alone; the engine's own next.
    case configuration(reason: String)
    /// The client is suspended, or was while this ran; the transaction was rolled back.
    case suspended(reason: String)
    /// The client was shut down.
    case ended(reason: String)
    /// A transaction or a read stood idle for too long, and was rolled back.
    case transactionTimeout(reason: String)
    /// No server could be reached; what was written waits in the file and will be sent.
    case offline(reason: String)
    /// Credentials are missing or refused; what was written waits until there are new ones.
    case unauthorized(reason: String)
    /// The server asks for a newer version of the app; what was written waits.
    case upgradeRequired(reason: String)
    /// The server answered with an error; what was written waits. `retryable` says whether asking again may help.
    case server(reason: String, status: Int, code: String, retryable: Bool)
    /// The server's answer is not of the protocol; nothing of it was applied.
    case `protocol`(reason: String)
    /// A function of the app failed: a token provider, a transport, an observer, the code of an action.
    case callback(reason: String)
    /// A bug of the engine, or bytes that were damaged on the way; a transaction was rolled back.
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
    /// The arguments are not those that it takes.
    case arguments
    /// A rule of the app says no.
    case refused
    /// It makes two rows that nothing tells apart, and that have one id therefore.
    case sameRow
    /// Its code waits for something, and had not ended in time.
    case timedOut
}

/// A row that is not as a mutation left it.
public struct ChangedRow: Sendable, Hashable {
    /// The table's name.
    public let table: String
    /// The row's key.
    public let key: SQLValue
    /// The columns that have another value; empty if the row went, or is back.
    public let columns: [String]
    /// What the mutation wrote, by column; `nil` if it removed the row.
    public let wrote: [String: SQLValue]?
    /// The row as it is seen now, by column; `nil` if there is none.
    public let present: [String: SQLValue]?
}

extension RejoinError: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? { reason }
    public var description: String { reason }
}
