/*
 * The places to inspect: search, add, tick, delete, and record a visit. Each row shows the sync state of its edits.
 *
 * The rows come from a watched query, so edits of other devices appear by themselves.
 */
package dev.rejoin.todo

import androidx.compose.foundation.layout.*
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.foundation.text.KeyboardOptions
import androidx.compose.material3.*
import androidx.compose.runtime.*
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.ui.Modifier
import androidx.compose.ui.text.input.KeyboardType
import androidx.compose.ui.unit.dp
import dev.rejoin.compose.WatchState
import dev.rejoin.compose.rememberWatch

@Composable
fun PlacesScreen(inspections: Inspections, act: Act) {
    var name by rememberSaveable { mutableStateOf("") }
    var visited by rememberSaveable { mutableStateOf<String?>(null) }
    val places by inspections.database.rememberWatch(PLACES, name) { Place(it) }
    Column {
        OutlinedTextField(
            value = name,
            onValueChange = { name = it },
            label = { Text("Find or add a place") },
            singleLine = true,
            trailingIcon = {
                TextButton(onClick = { act { inspections.add(name.trim()); name = "" } }, enabled = name.isNotBlank()) { Text("Add") }
            },
            modifier = Modifier.fillMaxWidth().padding(16.dp),
        )
        when (val state = places) {
            is WatchState.Loading -> LinearProgressIndicator(Modifier.fillMaxWidth())
            is WatchState.Failed -> Text("The places cannot be read: ${state.error.message}", Modifier.padding(16.dp))
            is WatchState.Rows ->
                LazyColumn {
                    items(state.rows, key = { it.id }) { place ->
                        PlaceItem(place, act, inspections, onVisit = { visited = place.id })
                    }
                }
        }
    }
    visited?.let { id ->
        VisitDialog(onDismiss = { visited = null }) { score -> act { inspections.addVisit(id, score) } }
    }
}

@Composable
private fun PlaceItem(place: Place, act: Act, inspections: Inspections, onVisit: () -> Unit) {
    ListItem(
        leadingContent = { Checkbox(place.done, onCheckedChange = { done -> act { inspections.setDone(place.id, done) } }) },
        headlineContent = { Text(place.name) },
        supportingContent = { Text(listOf(place.country, place.state).filter { it.isNotEmpty() }.joinToString(" · ")) },
        trailingContent = {
            Row {
                TextButton(onClick = onVisit) { Text("Visit") }
                TextButton(onClick = { act { inspections.delete(place.id) } }) { Text("Delete") }
            }
        },
    )
}

@Composable
private fun VisitDialog(onDismiss: () -> Unit, onSave: (Long) -> Unit) {
    var text by rememberSaveable { mutableStateOf("") }
    val score = text.toLongOrNull()
    AlertDialog(
        onDismissRequest = onDismiss,
        title = { Text("Visit") },
        text = {
            OutlinedTextField(
                value = text,
                onValueChange = { text = it },
                label = { Text("Score") },
                supportingText = { Text("The server rejects more than 100") },
                keyboardOptions = KeyboardOptions(keyboardType = KeyboardType.Number),
            )
        },
        confirmButton = { TextButton(onClick = { score?.let(onSave); onDismiss() }, enabled = score != null) { Text("Save") } },
        dismissButton = { TextButton(onClick = onDismiss) { Text("Cancel") } },
    )
}
