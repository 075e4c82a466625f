// The texts of the conflict sheet, in English; an app sets its own.

import Rejoin

/// The texts of the conflict sheet.
///
/// ```swift
/// var texts = ParkedTexts()
/// texts.rowTitle = { table, _ in table == "task" ? String(localized: "Task") : table }
/// texts.keepMine = String(localized: "Keep my version")
/// ```
public struct ParkedTexts: Sendable {
    /// The heading for a reason.
    public var title: @Sendable (ParkReason?) -> String = { english($0).title }
    /// What the reason means for the user.
    public var explanation: @Sendable (ParkReason?) -> String = { english($0).explanation }
    /// The server's message, below the explanation; `nil` omits it.
    public var message: @Sendable (_ message: String) -> String? = { $0 }
    /// The heading of a row.
    public var rowTitle: @Sendable (_ table: String, _ key: SQLValue) -> String = { table, _ in words(table) }
    /// The label of a column.
    public var columnTitle: @Sendable (_ table: String, _ column: String) -> String = { _, column in words(column) }
    /// What the mutation does to a row.
    public var change: @Sendable (PatchKind) -> String = { englishChange($0) }
    /// Heading of the user's values.
    public var mine = "Mine"
    /// Heading of the values in conflict with the user's.
    public var theirs = "Theirs"
    /// Heading of the current values for other reasons.
    public var current = "Now"
    /// Instead of values, for a row that the mutation deletes or that is gone.
    public var deleted = "Deleted"
    /// A column without a value.
    public var noValue = "Empty"
    /// The value true.
    public var yes = "Yes"
    /// The value false.
    public var no = "No"
    /// A value of bytes, which is not shown.
    public var bytes: @Sendable (_ count: Int) -> String = { $0 == 1 ? "1 byte" : "\($0) bytes" }
    /// The number of rows that are not shown.
    public var moreRows: @Sendable (_ count: Int) -> String = { $0 == 1 ? "and 1 more row" : "and \($0) more rows" }
    /// The number of later mutations that share the decision.
    public var dependents: @Sendable (_ count: Int) -> String = { count in
        count == 1
            ? "1 later change depends on this one and is decided with it."
            : "\(count) later changes depend on this one and are decided with it."
    }
    /// The button that sends a conflicting mutation again.
    public var keepMine = "Keep mine"
    /// The same button for other reasons.
    public var tryAgain = "Try again"
    /// The button that discards a conflicting mutation.
    public var takeTheirs = "Take theirs"
    /// The same button for other reasons.
    public var discard = "Discard"
    /// The button that opens the fields.
    public var edit = "Edit"
    /// The button that sends the edited values.
    public var save = "Save and send"
    /// The button that closes the fields, or the sheet.
    public var cancel = "Cancel"
    /// The error of a field that needs a whole number.
    public var notInteger = "Enter a whole number"
    /// The error of a field that needs a number.
    public var notReal = "Enter a number"
    /// The text for a call that failed.
    public var error: @Sendable (any Error) -> String = { englishError($0) }

    /// The English texts.
    public init() {}
}

extension ParkedTexts {
    /// A value as the user reads it; `nil` is a row that does not exist.
    func shown(_ value: SQLValue?, _ kind: FieldKind) -> String {
        switch value {
        case nil: deleted
        case .null?, .text("")?: noValue
        case .integer(let number)? where kind == .boolean: number == 1 ? yes : no
        case .blob(let bytes)?: self.bytes(bytes.count)
        case .some(let other): other.fieldText
        }
    }

    /// The error of a field that needs a value of this kind.
    func invalid(_ kind: FieldKind) -> String { kind == .real ? notReal : notInteger }
}

private func english(_ reason: ParkReason?) -> (title: String, explanation: String) {
    switch reason {
    case .conflicted:
        ("Changed by someone else", "This was changed elsewhere after you opened it. Choose which version to keep.")
    case .rejected: ("Not accepted", "The server did not accept these values. Correct them, or discard your change.")
    case .refused: ("Not allowed", "The server does not allow this change.")
    case .unreplayable: ("No longer possible", "This could not be repeated on the newer data.")
    case .depends: ("Waiting for another change", "An earlier change that this one needs was not accepted.")
    case .partlyAccepted: ("Accepted in part", "The server accepted a part of this change. This is the rest.")
    case .serverFault:
        ("Server error", "The server failed on this change too often. Try again later, or discard it.")
    case nil: ("Not sent", "This change waits for your decision.")
    }
}

private func englishChange(_ kind: PatchKind) -> String {
    switch kind {
    case .insert: "New"
    case .update: "Edited"
    case .delete: "Deleted"
    }
}

private func englishError(_ error: any Error) -> String {
    switch error {
    case RejoinError.constraint(let error): "\(words(error.column)): this value is not allowed (\(error.rule))"
    case RejoinError.parentParked: "An earlier change has to be decided first."
    default: "\(error)"
    }
}

/// The name of a table or column as words: `due_date` becomes "Due date".
func words(_ name: String) -> String {
    let text = name.replacing("_", with: " ").split(separator: " ").joined(separator: " ")
    return text.isEmpty ? name : text.prefix(1).uppercased() + text.dropFirst()
}
