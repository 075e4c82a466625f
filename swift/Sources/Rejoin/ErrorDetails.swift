// What the cases of RejoinError carry: one struct each, which can get more properties.

import Foundation

/// An error that has only a reason. A literal makes one: `RejoinError.offline("no radio")`.
public struct PlainError: Sendable, Hashable, ExpressibleByStringInterpolation {
    /// What happened, as a lower-case fragment.
    public let reason: String

    /// - Parameter reason: what happened.
    public init(reason: String) { self.reason = reason }

    public init(stringLiteral reason: String) { self.init(reason: reason) }
}

/// A declared rule that a statement violates.
public struct ConstraintError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The table.
    public let table: String
    /// The column, or several joined by a comma.
    public let column: String
    /// `NOT NULL`, `UNIQUE`, `CHECK name` or `FOREIGN KEY`.
    public let rule: String

    public init(reason: String, table: String, column: String, rule: String) {
        self.reason = reason
        self.table = table
        self.column = column
        self.rule = rule
    }
}

/// An action that was not performed.
public struct ActionError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The action's name.
    public let action: String
    /// Why it was not performed.
    public let fault: ActionFault
    /// The app's message of a refusal, the problem of wrong arguments, the table of two equal rows; else empty.
    public let detail: String

    public init(reason: String, action: String, fault: ActionFault, detail: String = "") {
        self.reason = reason
        self.action = action
        self.fault = fault
        self.detail = detail
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

/// A run of an action that exceeded its time.
public struct ActionTooSlowError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The action's name.
    public let action: String
    /// The exceeded limit, which is ``ActionBudget/run``.
    public let limit: Duration

    public init(reason: String, action: String, limit: Duration) {
        self.reason = reason
        self.action = action
        self.limit = limit
    }
}

/// A run of an action that wrote too much.
public struct ActionTooLargeError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The action's name.
    public let action: String
    /// The exceeded limit, which is ``ActionBudget/bytes``.
    public let limitBytes: Int

    public init(reason: String, action: String, limitBytes: Int) {
        self.reason = reason
        self.action = action
        self.limitBytes = limitBytes
    }
}

/// A mutation that depends on a parked one.
public struct ParentParkedError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The parked mutation that creates the row.
    public let id: PendingMutation.ID

    public init(reason: String, id: PendingMutation.ID) {
        self.reason = reason
        self.id = id
    }
}

/// Mutations that a reset would delete.
public struct UnsentError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// Number of waiting and parked mutations that were not named.
    public let waiting: Int

    public init(reason: String, waiting: Int) {
        self.reason = reason
        self.waiting = waiting
    }
}

/// Rows that changed after the mutation that an undo would revert.
public struct ChangedError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The rows.
    public let rows: [ChangedRow]

    public init(reason: String, rows: [ChangedRow]) {
        self.reason = reason
        self.rows = rows
    }
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

/// A response of the server that is an error.
public struct ServerError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The HTTP status.
    public let status: Int
    /// The server's error code; empty if the response has none.
    public let code: String
    /// Whether the same request may succeed later.
    public let retryable: Bool

    public init(reason: String, status: Int, code: String, retryable: Bool) {
        self.reason = reason
        self.status = status
        self.code = code
        self.retryable = retryable
    }
}

/// A subscription to a stream that the server refuses.
public struct SubscriptionRefusedError: Sendable, Hashable {
    /// What happened, as a lower-case fragment.
    public let reason: String
    /// The stream's name.
    public let stream: String
    /// Why, for programs.
    public let refusal: RefusalCode
    /// The server's message.
    public let detail: String

    public init(reason: String, stream: String, refusal: RefusalCode, detail: String) {
        self.reason = reason
        self.stream = stream
        self.refusal = refusal
        self.detail = detail
    }
}
