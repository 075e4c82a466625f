/*
 * Asks for the token that identifies the user. examples/android/server/token.sh prints one; a real app gets it from the
 * server that its users sign in to. Nothing checks it here: the sync status shows if the server rejects it.
 */
package dev.rejoin.todo

import androidx.compose.foundation.layout.*
import androidx.compose.material3.Button
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.runtime.*
import androidx.compose.ui.Modifier
import androidx.compose.ui.text.input.PasswordVisualTransformation
import androidx.compose.ui.unit.dp

@Composable
fun SignInScreen(onSignIn: (String) -> Unit) {
    // Not saved with the screen's state: the system would store it unencrypted.
    var token by remember { mutableStateOf("") }
    Column(Modifier.padding(16.dp), verticalArrangement = Arrangement.spacedBy(12.dp)) {
        Text("Paste the token that server/token.sh prints.")
        OutlinedTextField(
            value = token,
            onValueChange = { token = it },
            label = { Text("Token") },
            singleLine = true,
            visualTransformation = PasswordVisualTransformation(),
            modifier = Modifier.fillMaxWidth(),
        )
        Button(onClick = { onSignIn(token) }, enabled = token.isNotBlank()) { Text("Sign in") }
    }
}
