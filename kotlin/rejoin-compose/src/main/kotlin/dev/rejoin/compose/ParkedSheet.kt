/*
 * A parked mutation with the user's decision, as a bottom sheet and as content for the app's own window.
 *
 * ParkedState.kt carries out the decision, ParkedContent.kt and ParkedRows.kt draw.
 */
package dev.rejoin.compose

import androidx.compose.material3.ExperimentalMaterial3Api
import androidx.compose.material3.ModalBottomSheet
import androidx.compose.material3.rememberModalBottomSheetState
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.rememberUpdatedState
import androidx.compose.runtime.saveable.Saver
import androidx.compose.runtime.saveable.listSaver
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import dev.rejoin.SyncedDatabase
import kotlinx.coroutines.launch

/**
 * A bottom sheet in which the user decides about a parked mutation: keep their values, take the server's, or edit.
 *
 * It shows why the mutation is parked and, for each row, both values; they follow later changes. A mutation that depends on
 * another parked one shows that one, because they are decided together. The sheet closes after the decision, and if the
 * mutation was decided elsewhere. A call that fails is shown in the sheet and changes nothing.
 *
 * ```kotlin
 * var review by remember { mutableStateOf<String?>(null) }
 * review?.let { id -> ParkedSheet(database, id, onDismiss = { review = null }) }
 * ```
 *
 * An action can be sent again or discarded here; to correct its arguments call [dev.rejoin.QueueHandle.performAgain].
 *
 * @param mutationId the id of the mutation, from [dev.rejoin.QueueHandle.pending] or a verdict.
 * @param onDismiss called when the sheet has closed.
 */
@OptIn(ExperimentalMaterial3Api::class)
@Composable
public fun ParkedSheet(
    database: SyncedDatabase,
    mutationId: String,
    onDismiss: () -> Unit,
    modifier: Modifier = Modifier,
    texts: ParkedTexts = ParkedTexts(),
) {
    val sheet = rememberModalBottomSheetState(skipPartiallyExpanded = true)
    val scope = rememberCoroutineScope()
    ModalBottomSheet(onDismissRequest = onDismiss, modifier = modifier, sheetState = sheet) {
        ParkedContent(
            database = database,
            mutationId = mutationId,
            onDecided = { scope.launch { sheet.hide() }.invokeOnCompletion { onDismiss() } },
            texts = texts,
        )
    }
}

/**
 * The content of [ParkedSheet], for a window of the app. It scrolls, so its height must be limited.
 *
 * @param onDecided called once, when the mutation is no longer parked.
 */
@Composable
public fun ParkedContent(
    database: SyncedDatabase,
    mutationId: String,
    onDecided: () -> Unit,
    modifier: Modifier = Modifier,
    texts: ParkedTexts = ParkedTexts(),
) {
    val scope = rememberCoroutineScope()
    val state = remember(database, mutationId) { ParkedState(database, mutationId, scope) }
    LaunchedEffect(state) { state.follow() }
    val decided by rememberUpdatedState(onDecided)
    LaunchedEffect(state, state.isDecided) { if (state.isDecided) decided() }
    // What the user has typed survives a rotation of the screen.
    var edited by rememberSaveable(mutationId, stateSaver = FIELDS) { mutableStateOf<Map<FieldKey, String?>?>(null) }
    ParkedBody(
        view = state.view,
        error = state.error,
        isEnabled = !state.isBusy && !state.isDecided,
        edited = edited,
        onEdited = { edited = it },
        onDecision = state::decide,
        texts = texts,
        modifier = modifier,
    )
}

private val FIELDS: Saver<Map<FieldKey, String?>?, Any> =
    listSaver(
        save = { fields -> fields.orEmpty().flatMap { (key, text) -> listOf(key.row, key.column, text) } },
        restore = { saved -> saved.chunked(3).associate { (row, column, text) -> FieldKey(row as Int, column as String) to text as String? }.ifEmpty { null } },
    )
