/*
 * The layout of the content for a parked mutation: heading, rows, error, buttons. ParkedRows.kt draws the rows.
 *
 * It shows what it gets and reports taps; it reads and decides nothing.
 */
package dev.rejoin.compose

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp
import dev.rejoin.RejoinException

/** @param edited the texts of the fields while the user edits, else null. */
@Composable
internal fun ParkedBody(
    view: ParkedView?,
    error: RejoinException?,
    isEnabled: Boolean,
    edited: Map<FieldKey, String?>?,
    onEdited: (Map<FieldKey, String?>?) -> Unit,
    onDecision: (Decision) -> Unit,
    texts: ParkedTexts,
    modifier: Modifier = Modifier,
) {
    // A row that was deleted meanwhile has no fields.
    val fields = edited?.takeIf { view?.isEditable == true }
    Column(modifier.fillMaxWidth().padding(start = 24.dp, end = 24.dp, bottom = 24.dp), verticalArrangement = Arrangement.spacedBy(16.dp)) {
        if (view == null) {
            if (error == null) Box(Modifier.fillMaxWidth().padding(32.dp), Alignment.Center) { CircularProgressIndicator() }
        } else {
            // The buttons stay visible below long content.
            Column(Modifier.weight(1f, fill = false).verticalScroll(rememberScrollState()), verticalArrangement = Arrangement.spacedBy(16.dp)) {
                ParkedHeading(view, texts)
                val otherHeading = if (view.isConflict) texts.theirs else texts.current
                view.rows.forEachIndexed { number, row -> ParkedRowCard(number, row, otherHeading, fields, isEnabled, onEdited, texts) }
                if (view.moreRows > 0) Note(texts.moreRows(view.moreRows))
                if (view.dependents > 0) Note(texts.dependents(view.dependents))
            }
        }
        if (error != null) Message(texts.error(error), isError = true)
        if (view != null) {
            if (fields == null) {
                DecisionButtons(view, isEnabled, onEdit = { onEdited(editedFields(view)) }, onDecision, texts)
            } else {
                EditButtons(isEnabled, fieldErrors(view, fields).isEmpty(), { onEdited(null) }, { onDecision(Decision.Edit(fields)) }, texts)
            }
        }
    }
}

@Composable
private fun ParkedHeading(view: ParkedView, texts: ParkedTexts) {
    Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
        Text(texts.title(view.reason), Modifier.semantics { heading() }, style = MaterialTheme.typography.headlineSmall)
        Text(texts.explanation(view.reason), style = MaterialTheme.typography.bodyMedium, color = MaterialTheme.colorScheme.onSurfaceVariant)
    }
    // Both values of a conflict say more than its message.
    val message = view.message?.takeUnless { view.isConflict }?.let(texts.message)
    if (message != null) Message(message, isError = false)
}

@Composable
private fun Message(text: String, isError: Boolean) {
    val scheme = MaterialTheme.colorScheme
    Surface(
        Modifier.fillMaxWidth().semantics { liveRegion = if (isError) LiveRegionMode.Assertive else LiveRegionMode.Polite },
        shape = MaterialTheme.shapes.medium,
        color = if (isError) scheme.errorContainer else scheme.secondaryContainer,
    ) {
        Text(text, Modifier.padding(horizontal = 16.dp, vertical = 12.dp), style = MaterialTheme.typography.bodyMedium)
    }
}

@Composable
private fun Note(text: String) {
    Text(text, style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.onSurfaceVariant)
}

@Composable
private fun DecisionButtons(view: ParkedView, isEnabled: Boolean, onEdit: () -> Unit, onDecision: (Decision) -> Unit, texts: ParkedTexts) {
    Column(verticalArrangement = Arrangement.spacedBy(4.dp)) {
        Row(horizontalArrangement = Arrangement.spacedBy(12.dp)) {
            OutlinedButton({ onDecision(Decision.Discard) }, Modifier.weight(1f), isEnabled) {
                Text(if (view.isConflict) texts.takeTheirs else texts.discard)
            }
            Button({ onDecision(Decision.Keep) }, Modifier.weight(1f), isEnabled) {
                Text(if (view.isConflict) texts.keepMine else texts.tryAgain)
            }
        }
        if (view.isEditable) TextButton(onEdit, Modifier.fillMaxWidth(), isEnabled) { Text(texts.edit) }
    }
}

@Composable
private fun EditButtons(isEnabled: Boolean, isValid: Boolean, onCancel: () -> Unit, onSave: () -> Unit, texts: ParkedTexts) {
    Row(horizontalArrangement = Arrangement.spacedBy(12.dp)) {
        OutlinedButton(onCancel, Modifier.weight(1f), isEnabled) { Text(texts.cancel) }
        Button(onSave, Modifier.weight(1f), isEnabled && isValid) { Text(texts.save) }
    }
}
