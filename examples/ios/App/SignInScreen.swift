// Asks for the token that identifies the user. examples/android/server/token.sh prints one; a real app gets it from the
// server that its users sign in to. Nothing checks it here: the sync status shows if the server rejects it.

import SwiftUI

struct SignInScreen: View {
    let inspections: Inspections
    @State private var token = ""

    var body: some View {
        Form {
            Section("Paste the token that server/token.sh prints.") {
                SecureField("Token", text: $token)
                Button("Sign in") { inspections.act { try await inspections.signIn(token) } }.disabled(token.isEmpty)
            }
        }
    }
}
