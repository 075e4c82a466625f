/*
 * The rows of a parked mutation: both values side by side, or a field for each value.
 */
package dev.rejoin.compose

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.IntrinsicSize
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxHeight
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.height
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.selection.toggleable
import androidx.compose.foundation.text.KeyboardOptions
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Surface
import androidx.compose.material3.Switch
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.semantics.Role
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.text.font.FontWeight
import androidx.compose.ui.text.input.KeyboardType
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp
import dev.rejoin.PatchKind

/** A row of the mutation, with fields if [edited] is given; [otherHeading] is that of the current values. */
@Composable
internal fun ParkedRowCard(
    number: Int,
    row: ParkedRow,
    otherHeading: String,
    edited: Map<FieldKey, String?>?,
    isEnabled: Boolean,
    onEdited: (Map<FieldKey, String?>) -> Unit,
    texts: ParkedTexts,
) {
    Surface(Modifier.fillMaxWidth(), shape = MaterialTheme.shapes.large, color = MaterialTheme.colorScheme.surfaceContainerHigh) {
        Column(Modifier.padding(16.dp), verticalArrangement = Arrangement.spacedBy(12.dp)) {
            Row(verticalAlignment = Alignment.CenterVertically) {
                Text(texts.rowTitle(row.table, row.key), Modifier.weight(1f), style = MaterialTheme.typography.titleMedium, maxLines = 2)
                Text(texts.change(row.change), style = MaterialTheme.typography.labelMedium, color = MaterialTheme.colorScheme.onSurfaceVariant)
            }
            for (field in row.fields) {
                val key = FieldKey(number, field.column)
                if (edited != null && key in edited) {
                    EditField(row, field, otherHeading, edited[key], isEnabled, { onEdited(edited + (key to it)) }, texts)
                } else {
                    BothValues(row, field, otherHeading, texts)
                }
            }
        }
    }
}

@Composable
private fun BothValues(row: ParkedRow, field: ParkedField, otherHeading: String, texts: ParkedTexts) {
    val mine = if (row.change == PatchKind.DELETE) texts.deleted else shownText(field.mine, field.type, texts)
    Column(verticalArrangement = Arrangement.spacedBy(6.dp)) {
        Text(texts.columnTitle(row.table, field.column), style = MaterialTheme.typography.labelLarge, color = MaterialTheme.colorScheme.onSurfaceVariant)
        // Both as high as the higher one.
        Row(Modifier.height(IntrinsicSize.Min), horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            val cell = Modifier.weight(1f).fillMaxHeight()
            ValueCell(texts.mine, mine, field.differs, cell)
            // A new row has no other version, unless the same key was created elsewhere.
            if (row.exists || row.change != PatchKind.INSERT) ValueCell(otherHeading, theirs(row, field, texts), false, cell)
        }
    }
}

private fun theirs(row: ParkedRow, field: ParkedField, texts: ParkedTexts): String =
    if (row.exists) shownText(field.theirs, field.type, texts) else texts.deleted

@Composable
private fun ValueCell(heading: String, value: String, isHighlighted: Boolean, modifier: Modifier) {
    val scheme = MaterialTheme.colorScheme
    Surface(
        modifier.semantics(mergeDescendants = true) {},
        shape = MaterialTheme.shapes.small,
        color = if (isHighlighted) scheme.primaryContainer else scheme.surface,
        contentColor = if (isHighlighted) scheme.onPrimaryContainer else scheme.onSurface,
    ) {
        Column(Modifier.padding(horizontal = 12.dp, vertical = 8.dp), verticalArrangement = Arrangement.spacedBy(2.dp)) {
            Text(heading, style = MaterialTheme.typography.labelSmall, color = if (isHighlighted) scheme.primary else scheme.onSurfaceVariant)
            Text(
                value,
                style = MaterialTheme.typography.bodyLarge,
                fontWeight = if (isHighlighted) FontWeight.Medium else null,
                maxLines = 6,
                overflow = TextOverflow.Ellipsis,
            )
        }
    }
}

@Composable
private fun EditField(
    row: ParkedRow,
    field: ParkedField,
    otherHeading: String,
    text: String?,
    isEnabled: Boolean,
    onText: (String?) -> Unit,
    texts: ParkedTexts,
) {
    val title = texts.columnTitle(row.table, field.column)
    if (field.type == FieldType.BOOLEAN) {
        val isOn = text == "1"
        val toggle = Modifier.fillMaxWidth().toggleable(isOn, isEnabled, Role.Switch) { onText(if (it) "1" else "0") }
        Row(toggle, verticalAlignment = Alignment.CenterVertically) {
            Text(title, Modifier.weight(1f), style = MaterialTheme.typography.bodyLarge)
            Switch(isOn, onCheckedChange = null, enabled = isEnabled)
        }
        return
    }
    val error =
        when (parseField(text, field.type)) {
            is Parsed.Value -> null
            is Parsed.Invalid -> if (field.type == FieldType.INTEGER) texts.notInteger else texts.notReal
        }
    OutlinedTextField(
        value = text.orEmpty(),
        onValueChange = onText,
        modifier = Modifier.fillMaxWidth().semantics { contentDescription = title },
        enabled = isEnabled,
        label = { Text(title) },
        placeholder = { if (text == null) Text(texts.noValue) },
        trailingIcon = { if (text != null) TextButton({ onText(null) }, enabled = isEnabled) { Text(texts.clear) } },
        supportingText = {
            val theirs = "$otherHeading: ${theirs(row, field, texts)}"
            if (error != null || row.exists) Text(error ?: theirs, maxLines = 2, overflow = TextOverflow.Ellipsis)
        },
        isError = error != null,
        keyboardOptions = KeyboardOptions(keyboardType = keyboard(field.type)),
        maxLines = 6,
    )
}

private fun keyboard(type: FieldType): KeyboardType =
    when (type) {
        FieldType.INTEGER -> KeyboardType.Number
        FieldType.REAL -> KeyboardType.Decimal
        else -> KeyboardType.Text
    }
