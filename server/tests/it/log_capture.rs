//! The lines that the server logs on the runtime of a test.
//!
//! All tests of a process share one subscriber. With one per thread, lines and spans would be lost:
//! which lines are wanted is cached for the process, and the spans of a request end on other
//! threads.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{LazyLock, Mutex, Once};

use tokio::runtime::{Handle, Id};

static LOGS: LazyLock<Mutex<HashMap<Id, Vec<u8>>>> = LazyLock::new(Mutex::default);

/// Captures the lines until it is dropped.
pub(crate) struct LogCapture(Id);

impl LogCapture {
    pub(crate) fn begin() -> Self {
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| {
            let all = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG);
            all.with_ansi(false).with_writer(|| Captured).init();
            // Another test may have reached a line just before, when none was wanted.
            tracing::callsite::rebuild_interest_cache();
        });
        let id = Handle::current().id();
        LOGS.lock().unwrap().insert(id, Vec::new());
        Self(id)
    }

    /// The number of lines that contain all of these words; of level `DEBUG` only with this word.
    pub(crate) fn count(&self, words: &[&str]) -> usize {
        let text = String::from_utf8(LOGS.lock().unwrap()[&self.0].clone()).unwrap();
        let all = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        all.filter(|line| words.contains(&"DEBUG") || !line.contains(" DEBUG ")).count()
    }
}

impl Drop for LogCapture {
    fn drop(&mut self) {
        LOGS.lock().unwrap().remove(&self.0);
    }
}

/// Adds a line to the log of the runtime on which it was written.
struct Captured;

impl Write for Captured {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Ok(runtime) = Handle::try_current()
            && let Some(log) = LOGS.lock().unwrap().get_mut(&runtime.id())
        {
            log.extend(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
