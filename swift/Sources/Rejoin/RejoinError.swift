// All errors, one case per decision that an app can take. ErrorDetails.swift has what they carry; Bridge/Errors.swift
// translates the engine's errors.

import Foundation

/// Any error that Rejoin throws; each case documents what happened to the data.
///
/// ```swift
/// do {
///     try await client.execute("INSERT INTO task (id, title) VALUES (?, ?)", ["a", nil])
/// } catch RejoinError.constraint(let error) {
///     print("\(error.table).\(error.column) must be given")
/// }
/// ```
///
/// Each case carries one struct, and a later release may add properties to it. It may also add cases: end a `switch`
/// over an error with `default`, which treats it as a failure of the call. ``code`` is for logs.
///
/// Expected outcomes are not errors: a rejected mutation is a ``Verdict``, being offline is a ``SyncStatus``. Errors of
/// the app's own code, for example in a transaction's body, pass through unchanged.
public enum RejoinError: Error, Sendable, Hashable {
    /// The call is invalid: SQL that does not compile, a value of the wrong type, an operation that is not allowed, or
    /// a call inside the client's own transaction that would wait for its end. Nothing was changed; within a
    /// transaction, the statement was rolled back.
    case invalidInput(PlainError)
    /// A declared rule is violated; the statement was rolled back.
    case constraint(ConstraintError)
    /// An action was not performed; it was rolled back. ``ActionContext/refuse(_:)`` creates one.
    case action(ActionError)
    /// One run of an action took too long; it was rolled back. Do less per run, or raise ``ActionBudget/run``.
    case actionTooSlow(ActionTooSlowError)
    /// One run of an action wrote too much; it was rolled back. Write less per run, or raise ``ActionBudget/bytes``.
    case actionTooLarge(ActionTooLargeError)
    /// The mutation depends on a row that a parked mutation creates. Nothing was changed; retry that one, with its
    /// chain.
    case parentParked(ParentParkedError)
    /// A reset would delete waiting or parked mutations that were not named. Nothing was changed.
    case unsent(UnsentError)
    /// The rows that the undo would restore have changed since. Nothing was changed.
    case changed(ChangedError)
    /// The file failed: damaged, full, read-only, locked by another process, or written by a newer release. Nothing was
    /// changed.
    case storage(PlainError)
    /// The file belongs to another user; nothing was changed.
    case wrongUser(PlainError)
    /// The configuration is invalid. The reason lists all problems of one check: first values that cannot be passed to
    /// the engine, otherwise the engine's own checks.
    case configuration(PlainError)
    /// The client is suspended, or was suspended during the call; the transaction was rolled back.
    case suspended(PlainError)
    /// The client was shut down.
    case closed(PlainError)
    /// A transaction or a read was idle for too long and was rolled back.
    case transactionTimeout(PlainError)
    /// No server was reachable; the queue is intact and will be sent.
    case offline(PlainError)
    /// Credentials are missing or rejected; the queue waits for new ones.
    case unauthorized(PlainError)
    /// The server requires a newer version of the app; the queue waits.
    case upgradeRequired(PlainError)
    /// The server responded with an error; the queue is intact.
    case server(ServerError)
    /// The server refuses a subscription to a stream. The subscription stays, and brings rows if the server accepts it
    /// later.
    case subscriptionRefused(SubscriptionRefusedError)
    /// The server's response violates the protocol; nothing of it was applied.
    case `protocol`(PlainError)
    /// A callback of the app failed: a token provider, a transport, an observer, or the code of an action.
    case callback(PlainError)
    /// A bug of the engine, or damaged bytes; the transaction was rolled back.
    case `internal`(PlainError)

    /// The kind of the error, stable over releases: the name of the case with a capital, as `Constraint` and
    /// `InvalidInput`. The SDK for TypeScript has the same codes.
    public var code: String { content.code }

    /// What happened, as a lower-case fragment.
    public var reason: String { content.reason }

    private var content: (code: String, reason: String) {
        switch self {
        case .invalidInput(let error): ("InvalidInput", error.reason)
        case .constraint(let error): ("Constraint", error.reason)
        case .action(let error): ("Action", error.reason)
        case .actionTooSlow(let error): ("ActionTooSlow", error.reason)
        case .actionTooLarge(let error): ("ActionTooLarge", error.reason)
        case .parentParked(let error): ("ParentParked", error.reason)
        case .unsent(let error): ("Unsent", error.reason)
        case .changed(let error): ("Changed", error.reason)
        case .storage(let error): ("Storage", error.reason)
        case .wrongUser(let error): ("WrongUser", error.reason)
        case .configuration(let error): ("Configuration", error.reason)
        case .suspended(let error): ("Suspended", error.reason)
        case .closed(let error): ("Closed", error.reason)
        case .transactionTimeout(let error): ("TransactionTimeout", error.reason)
        case .offline(let error): ("Offline", error.reason)
        case .unauthorized(let error): ("Unauthorized", error.reason)
        case .upgradeRequired(let error): ("UpgradeRequired", error.reason)
        case .server(let error): ("Server", error.reason)
        case .subscriptionRefused(let error): ("SubscriptionRefused", error.reason)
        case .protocol(let error): ("Protocol", error.reason)
        case .callback(let error): ("Callback", error.reason)
        case .internal(let error): ("Internal", error.reason)
        }
    }
}

extension RejoinError: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? { reason }
    public var description: String { reason }
}
