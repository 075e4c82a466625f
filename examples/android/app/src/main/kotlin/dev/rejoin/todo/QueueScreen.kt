/*
 * The queue: what waits for the server, what waits for the user, and the server's last verdicts. A parked mutation opens in
 * the sheet of rejoin-compose, where the user decides.
 */
package dev.rejoin.todo

import androidx.compose.foundation.clickable
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.LazyListScope
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.*
import androidx.compose.runtime.*
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.ui.Modifier
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import dev.rejoin.PendingMutation

@Composable
fun QueueScreen(inspections: Inspections, act: Act, onReview: (String) -> Unit) {
    val queue by remember(inspections) { inspections.queue() }.collectAsStateWithLifecycle(QueueView(emptyList(), emptyList(), emptyList()))
    val isOffline by inspections.isOffline.collectAsStateWithLifecycle()
    var unsent by rememberSaveable { mutableIntStateOf(0) }
    LazyColumn {
        item {
            ListItem(
                headlineContent = { Text("Offline") },
                supportingContent = { Text("For a demonstration: the app behaves as without a network") },
                trailingContent = { Switch(isOffline, onCheckedChange = { act { inspections.setOffline(it) } }) },
            )
        }
        section("To review", queue.parked) { mutation ->
            MutationItem(mutation, mutation.reason?.name.orEmpty(), Modifier.clickable { onReview(mutation.id) })
        }
        section("Waiting", queue.waiting) { mutation -> MutationItem(mutation, mutation.state.name) }
        section("Verdicts", queue.verdicts.asReversed()) { verdict ->
            ListItem(
                headlineContent = { Text(verdict.kind.name.lowercase()) },
                supportingContent = { Text("${verdict.id} · ${verdict.at}") },
            )
        }
        item {
            TextButton(onClick = { act { inspections.acknowledge(queue.verdicts) } }, enabled = queue.verdicts.isNotEmpty()) { Text("Mark verdicts as read") }
            TextButton(onClick = { act { unsent = inspections.signOut(discardUnsent = false) } }) { Text("Sign out") }
        }
    }
    if (unsent > 0) {
        AlertDialog(
            onDismissRequest = { unsent = 0 },
            text = { Text("$unsent changes are not on the server. Delete them?") },
            confirmButton = { TextButton(onClick = { act { unsent = inspections.signOut(discardUnsent = true) } }) { Text("Delete and sign out") } },
            dismissButton = { TextButton(onClick = { unsent = 0 }) { Text("Cancel") } },
        )
    }
}

/** A heading and its items; nothing if there are none. */
private fun <T> LazyListScope.section(title: String, content: List<T>, show: @Composable (T) -> Unit) {
    if (content.isEmpty()) return
    item { ListItem(headlineContent = { Text("$title: ${content.size}") }) }
    items(content) { show(it) }
}

@Composable
private fun MutationItem(mutation: PendingMutation, state: String, modifier: Modifier = Modifier) {
    val rows = mutation.rows.joinToString("\n") { row -> "${row.operation.name.lowercase()} ${row.table} ${row.key}" }
    ListItem(headlineContent = { Text(rows) }, supportingContent = { Text(state.lowercase()) }, modifier = modifier)
}
