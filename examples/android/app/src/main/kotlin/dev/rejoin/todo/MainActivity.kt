/*
 * The activity: sign-in, or the two tabs with the sync status. The screens are in their own files.
 *
 * A call that fails is shown as a message and changes nothing. State of the screens survives a rotation.
 */
package dev.rejoin.todo

import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.compose.setContent
import androidx.activity.enableEdgeToEdge
import androidx.compose.foundation.layout.*
import androidx.compose.material3.*
import androidx.compose.runtime.*
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.ui.Modifier
import androidx.lifecycle.compose.collectAsStateWithLifecycle
import dev.rejoin.compose.ParkedSheet
import dev.rejoin.compose.SyncBadge
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.launch

class MainActivity : ComponentActivity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        enableEdgeToEdge()
        val inspections = (application as TodoApp).inspections
        setContent { MaterialTheme { AppScreen(inspections) } }
    }
}

/** Runs a call for a screen, which shows the message if it fails. */
typealias Act = (suspend () -> Unit) -> Unit

@OptIn(ExperimentalMaterial3Api::class)
@Composable
fun AppScreen(inspections: Inspections) {
    val isSignedIn by inspections.isSignedIn.collectAsStateWithLifecycle()
    val messages = remember { SnackbarHostState() }
    val scope = rememberCoroutineScope()
    val act: Act = { call ->
        scope.launch {
            try {
                call()
            } catch (error: CancellationException) {
                throw error
            } catch (error: Exception) {
                messages.showSnackbar(error.message.orEmpty())
            }
        }
    }
    var reviewed by rememberSaveable { mutableStateOf<String?>(null) }
    var tab by rememberSaveable { mutableIntStateOf(0) }
    LaunchedEffect(inspections) { inspections.restore() }
    Scaffold(
        topBar = { TopAppBar(title = { Text("Inspections") }, actions = { SyncBadge(inspections.database, onClick = { tab = 1 }) }) },
        snackbarHost = { SnackbarHost(messages) },
    ) { padding ->
        Box(Modifier.padding(padding).fillMaxSize()) {
            when (isSignedIn) {
                null -> Unit
                false -> SignInScreen { token -> act { inspections.signIn(token) } }
                true ->
                    Column {
                        PrimaryTabRow(tab) {
                            listOf("Places", "Queue").forEachIndexed { number, title ->
                                Tab(selected = tab == number, onClick = { tab = number }, text = { Text(title) })
                            }
                        }
                        if (tab == 0) PlacesScreen(inspections, act) else QueueScreen(inspections, act, onReview = { reviewed = it })
                    }
            }
        }
    }
    reviewed?.let { id -> ParkedSheet(inspections.database, id, onDismiss = { reviewed = null }) }
}
