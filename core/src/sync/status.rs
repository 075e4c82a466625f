//! The sync status as a watchable value, and its last changes for diagnosis.
//!
//! The state includes the next action and its time; being offline is a state, not an error. Times
//! are wall-clock milliseconds since 1970, for display.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::engine::schema::left_out::LeftOutPart;
use crate::host::Host;

/// The number of stored transitions.
const REMEMBERED: usize = 64;

/// The state of the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SyncState {
    /// No attempt yet.
    Idle,
    /// A pass has started: register and schema check. Also after a resume, until its pass starts.
    Connecting,
    /// Local mutations are being sent.
    Pushing,
    /// Remote rows are being fetched and applied.
    Applying(SyncedRows),
    /// The server asked to retry later.
    WaitingUntil {
        /// Time of the next attempt.
        at_ms: i64,
        /// The result of the last attempt.
        reason: String,
    },
    /// No server can be reached. Local work continues.
    Offline {
        /// The next attempt; `None` while the device reports that there is no network.
        retry_at_ms: Option<i64>,
        /// The result of the last attempt.
        reason: String,
    },
    /// The network is metered and the policy does not allow the rest; `sync_now` ignores the
    /// policy.
    Metered,
    /// Credentials are missing or rejected. Local work continues; the queue waits for new ones.
    NeedsAuth,
    /// The server requires a newer app. Local work continues; the queue waits.
    UpgradeRequired {
        /// The server's message.
        reason: String,
    },
    /// An error that a quick retry does not resolve; it is retried later.
    Failed {
        /// The error.
        reason: String,
        /// The next attempt.
        retry_at_ms: i64,
    },
    /// The last pass pushed and pulled everything. After a resume, only a pass that began after it sets
    /// this state. Later writes and remote changes wait for the next pass; `sync().run` waits for one.
    UpToDate {
        /// End of the last pass.
        since_ms: i64,
    },
    /// The app is in the background: no file, lock or connection is open.
    Suspended,
    /// The client was shut down.
    Stopped,
}

/// The progress of a pull or snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SyncedRows {
    /// Rows applied in this pass.
    pub done: u64,
    /// Total number of rows, if the server has reported it.
    pub total: Option<u64>,
    /// Average speed of this pass.
    pub rows_per_second: u64,
}

/// Whether a first sync has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstSync {
    /// Nothing was fetched yet.
    #[default]
    Absent,
    /// In progress: tables have a part of the rows.
    Partial,
    /// Completed, now or earlier.
    Done,
}

impl FirstSync {
    /// Parses the stored value.
    pub(crate) fn read(stored: Option<&str>) -> Self {
        match stored {
            Some("done") => Self::Done,
            Some("partial") => Self::Partial,
            _ => Self::Absent,
        }
    }
}

/// The status of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncStatus {
    /// The state of the driver.
    #[serde(flatten)]
    pub state: SyncState,
    /// Whether a first sync has completed.
    pub first_sync: FirstSync,
    /// Tables of the server, and rules and indexes, that this device has left out of its schema. The others
    /// are synced. A name that the app uses itself is adopted by the next sync after the app drops or
    /// renames its own object.
    ///
    /// Also the app's triggers that failed on rows of the server, which were written without them, until
    /// the app drops or replaces them.
    pub left_out: Vec<LeftOutPart>,
}

impl SyncStatus {
    /// The status before the file is read.
    pub(crate) fn new() -> Self {
        let (state, first_sync) = (SyncState::Idle, FirstSync::Absent);
        Self { state, first_sync, left_out: Vec::new() }
    }
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The time.
    pub at_ms: i64,
    /// The new state.
    #[serde(flatten)]
    pub state: SyncState,
}

/// The status, written by the driver and read by others.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    host: Arc<dyn Host>,
    status: watch::Sender<SyncStatus>,
    history: Mutex<VecDeque<Transition>>,
}

impl StatusBoard {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        let status = SyncStatus::new();
        Self { host, status: watch::Sender::new(status), history: Mutex::default() }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<SyncStatus> {
        self.status.subscribe()
    }

    pub(crate) fn now(&self) -> SyncStatus {
        self.status.borrow().clone()
    }

    /// Oldest first.
    pub(crate) fn history(&self) -> Vec<Transition> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn set(&self, state: SyncState) {
        // Progress within a state is published, but is no transition.
        let changed = self.status.borrow().state != state;
        if changed && discriminant(&self.status.borrow().state) != discriminant(&state) {
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            if history.len() == REMEMBERED {
                history.pop_front();
            }
            let at_ms = self.host.now_micros() / 1_000;
            history.push_back(Transition { at_ms, state: state.clone() });
            drop(history);
            tracing::debug!(?state, "sync");
        }
        if changed {
            self.status.send_modify(|status| status.state = state);
        }
    }

    /// Sets what the file says beside the state.
    pub(crate) fn set_stored(&self, first_sync: FirstSync, left_out: &[LeftOutPart]) {
        self.status.send_if_modified(|status| {
            let changed = status.first_sync != first_sync || status.left_out != left_out;
            if changed {
                status.first_sync = first_sync;
                status.left_out = left_out.to_vec();
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{FirstSync, REMEMBERED, StatusBoard, SyncState, SyncedRows};
    use crate::host::TestHost;

    #[test]
    fn board_keeps_the_last_transitions_without_progress() {
        let host = Arc::new(TestHost::new(1));
        let board = StatusBoard::new(Arc::clone(&host) as _);
        for round in 0..100 {
            host.advance(Duration::from_millis(1));
            board.set(SyncState::Connecting);
            host.advance(Duration::from_millis(1));
            for done in 0..10 {
                board.set(SyncState::Applying(SyncedRows {
                    done,
                    total: Some(10),
                    rows_per_second: 1,
                }));
            }
            host.advance(Duration::from_millis(1));
            board.set(SyncState::UpToDate { since_ms: round });
        }
        let history = board.history();
        assert_eq!(history.len(), REMEMBERED);
        assert_eq!(history.last().unwrap().state, SyncState::UpToDate { since_ms: 99 });
        assert!(history.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
        assert!(history.windows(3).all(|three| three[0].state != three[1].state));
    }

    #[test]
    fn watchers_are_notified_of_changes_only() {
        let board = StatusBoard::new(Arc::new(TestHost::new(1)));
        let mut watch = board.watch();
        board.set(SyncState::Idle);
        board.set_stored(FirstSync::Absent, &[]);
        assert!(!watch.has_changed().unwrap());
        board.set_stored(FirstSync::Partial, &[]);
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow_and_update().first_sync, FirstSync::Partial);
        board.set(SyncState::NeedsAuth);
        assert!(watch.has_changed().unwrap());
    }

    #[test]
    fn status_serializes_for_a_diagnosis() {
        let board = StatusBoard::new(Arc::new(TestHost::new(1)));
        board.set(SyncState::Applying(SyncedRows { done: 3, total: None, rows_per_second: 7 }));
        let json = serde_json::to_string(&board.now()).unwrap();
        let expected = r#"{"state":"applying","done":3,"total":null,"rows_per_second":7,"first_sync":"absent","left_out":[]}"#;
        assert_eq!(json, expected);
    }
}
