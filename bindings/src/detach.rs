//! Ends what a runtime of another language has opened, when it ends and the process goes on.

use std::time::Duration;

use rejoin_core::Client;

use crate::log::{LogLevel, set_log_sink};

/// Maximum duration of the call: a user waits for the reload.
const WITHIN: Duration = Duration::from_secs(3);

/// Shuts down all clients of the process and removes the log sink; for the reload of a JavaScript
/// runtime, by its native module.
///
/// Blocks until the files are closed, for at most three seconds; later opens of a file wait until it
/// is closed. Waits for no code of the app. Committed writes stay in the queues.
#[uniffi::export]
pub fn detach_all() {
    // It fails only if the process has another logger, which has no sink of ours.
    drop(set_log_sink(LogLevel::Error, None));
    Client::shutdown_all(WITHIN);
}
