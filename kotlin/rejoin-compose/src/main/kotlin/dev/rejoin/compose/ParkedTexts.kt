/*
 * The texts of the sheet for a parked mutation, in English; an app passes its translation.
 */
package dev.rejoin.compose

import dev.rejoin.ParkReason
import dev.rejoin.PatchKind
import dev.rejoin.RejoinException

/**
 * The texts of [ParkedSheet] and [ParkedContent]. Copy the instance with translated texts.
 *
 * ```kotlin
 * val texts = ParkedTexts(rowTitle = { table, _ -> if (table == "task") "Task" else table }, keepMine = "Keep my version")
 * ```
 *
 * @property title the heading for a reason.
 * @property explanation what the reason means for the user.
 * @property message the server's message, as a line below the explanation; null to omit it.
 * @property rowTitle the heading of a row; the arguments are its table and its key.
 * @property columnTitle the label of a column; the arguments are its table and its name.
 * @property change what the mutation does to a row, beside its heading.
 * @property mine heading of the user's values.
 * @property theirs heading of the values in conflict with the user's.
 * @property current heading of the current values for other reasons.
 * @property deleted instead of values, for a row that the mutation deletes or that is gone.
 * @property noValue a column without a value.
 * @property yes the value true.
 * @property no the value false.
 * @property bytes a value of bytes, which is not shown; the argument is their number.
 * @property moreRows below the rows that are shown; the argument is the number of the others.
 * @property dependents the number of later mutations that share the decision.
 * @property keepMine the button that sends a conflicting mutation again.
 * @property tryAgain the same button for other reasons.
 * @property takeTheirs the button that discards a conflicting mutation.
 * @property discard the same button for other reasons.
 * @property edit the button that opens the fields.
 * @property save the button that sends the edited values.
 * @property cancel the button that closes the fields.
 * @property clear the button that removes the value of a field.
 * @property notInteger the error of a field that needs a whole number.
 * @property notReal the error of a field that needs a number.
 * @property error the text for a call that failed.
 */
public data class ParkedTexts(
    val title: (ParkReason?) -> String = ::englishTitle,
    val explanation: (ParkReason?) -> String = ::englishExplanation,
    val message: (String) -> String? = { it },
    val rowTitle: (table: String, key: Any?) -> String = { table, _ -> words(table) },
    val columnTitle: (table: String, column: String) -> String = { _, column -> words(column) },
    val change: (PatchKind) -> String = ::englishChange,
    val mine: String = "Mine",
    val theirs: String = "Theirs",
    val current: String = "Now",
    val deleted: String = "Deleted",
    val noValue: String = "Empty",
    val yes: String = "Yes",
    val no: String = "No",
    val bytes: (count: Int) -> String = { count -> "$count bytes" },
    val moreRows: (count: Int) -> String = { count -> if (count == 1) "and 1 more row" else "and $count more rows" },
    val dependents: (count: Int) -> String = { count ->
        if (count == 1) "1 later change depends on this one and is decided with it." else "$count later changes depend on this one and are decided with it."
    },
    val keepMine: String = "Keep mine",
    val tryAgain: String = "Try again",
    val takeTheirs: String = "Take theirs",
    val discard: String = "Discard",
    val edit: String = "Edit",
    val save: String = "Save and send",
    val cancel: String = "Cancel",
    val clear: String = "Clear",
    val notInteger: String = "Enter a whole number",
    val notReal: String = "Enter a number",
    val error: (RejoinException) -> String = ::englishError,
)

private fun englishTitle(reason: ParkReason?): String =
    when (reason) {
        ParkReason.CONFLICTED -> "Changed by someone else"
        ParkReason.REJECTED -> "Not accepted"
        ParkReason.REFUSED -> "Not allowed"
        ParkReason.UNREPLAYABLE -> "No longer possible"
        ParkReason.DEPENDS -> "Waiting for another change"
        ParkReason.PARTLY_ACCEPTED -> "Accepted in part"
        ParkReason.SERVER_FAULT -> "Server error"
        null -> "Not sent"
    }

private fun englishExplanation(reason: ParkReason?): String =
    when (reason) {
        ParkReason.CONFLICTED -> "This was changed elsewhere after you opened it. Choose which version to keep."
        ParkReason.REJECTED -> "The server did not accept these values. Correct them, or discard your change."
        ParkReason.REFUSED -> "The server does not allow this change."
        ParkReason.UNREPLAYABLE -> "This could not be repeated on the newer data."
        ParkReason.DEPENDS -> "An earlier change that this one needs was not accepted."
        ParkReason.PARTLY_ACCEPTED -> "The server accepted a part of this change. This is the rest."
        ParkReason.SERVER_FAULT -> "The server failed on this change too often. Try again later, or discard it."
        null -> "This change waits for your decision."
    }

private fun englishChange(kind: PatchKind): String =
    when (kind) {
        PatchKind.INSERT -> "New"
        PatchKind.UPDATE -> "Edited"
        PatchKind.DELETE -> "Deleted"
    }

private fun englishError(error: RejoinException): String =
    when (error) {
        is RejoinException.Constraint -> "${words(error.column)}: this value is not allowed (${error.rule})"
        is RejoinException.ParentParked -> "An earlier change has to be decided first."
        else -> error.reason
    }

/** The name of a table or column as words: `due_date` becomes "Due date". */
internal fun words(name: String): String = name.replace('_', ' ').trim().replaceFirstChar(Char::uppercaseChar).ifEmpty { name }
