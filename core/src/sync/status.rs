//! What the client is doing about syncing, as a value to watch, and the last changes of it for diagnosis.
//!
//! Promise: the state always says what happens next and when; being offline is a state among others, no error. Times are
//! wall-clock microseconds since 1970, because they are shown to people.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::host::Host;

/// How many changes of state are remembered.
const REMEMBERED: usize = 64;

/// What the driver is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Nothing was tried yet.
    Idle,
    /// A pass has begun: finding out who we are to the server and whether the schema is the same.
    Connecting,
    /// Local mutations are on their way.
    Pushing,
    /// Remote rows are being fetched and applied.
    Applying(Rows),
    /// The server answered that it cannot just now; the next attempt has its time.
    WaitingUntil {
        /// When.
        at: i64,
        /// What the last attempt found.
        why: String,
    },
    /// No server can be reached. Local work goes on.
    Offline {
        /// The next attempt; `None` while the device itself says that there is no network: then as soon as it has one.
        retry_at: Option<i64>,
        /// What the last attempt found.
        why: String,
    },
    /// The network is metered and the policy holds back what remains; `sync_now` does not.
    Metered,
    /// Credentials are missing or refused. Local work goes on; the queue waits for new ones.
    NeedsAuth,
    /// The server asks for a newer app. Local work goes on; the queue waits.
    UpgradeRequired {
        /// The server's words.
        message: String,
    },
    /// Something that a quick retry does not mend; tried again all the same.
    Failed {
        /// What.
        why: String,
        /// The next attempt.
        retry_at: i64,
    },
    /// All was pushed and pulled.
    UpToDate {
        /// When the last pass ended.
        since: i64,
    },
    /// The app is in the background: no file, no lock and no connection is held.
    Suspended,
    /// The client was shut down.
    Stopped,
}

/// How far a pull or snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Rows {
    /// Rows applied in this pass.
    pub done: u64,
    /// Rows to come in all, where the server has said so.
    pub total: Option<u64>,
    /// The pace since the pass began.
    pub rows_per_second: u64,
}

/// Whether the tables have ever been complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstSync {
    /// Nothing has come yet.
    #[default]
    Absent,
    /// Under way: tables hold a part of the rows.
    Partial,
    /// Done, maybe long ago.
    Done,
}

impl FirstSync {
    /// The word in the engine's file.
    pub(crate) fn read(word: Option<&str>) -> Self {
        match word {
            Some("done") => Self::Done,
            Some("partial") => Self::Partial,
            _ => Self::Absent,
        }
    }
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What the driver is doing.
    #[serde(flatten)]
    pub state: State,
    /// Whether the tables have ever been complete.
    pub first_sync: FirstSync,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// When.
    pub at: i64,
    /// To what.
    #[serde(flatten)]
    pub state: State,
}

/// Where the driver writes its state and everybody else reads it.
#[derive(Debug)]
pub(crate) struct Board {
    host: Arc<dyn Host>,
    status: watch::Sender<Status>,
    history: Mutex<VecDeque<Transition>>,
}

impl Board {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        let status = Status { state: State::Idle, first_sync: FirstSync::Absent };
        Self { host, status: watch::Sender::new(status), history: Mutex::default() }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(crate) fn now(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Oldest first.
    pub(crate) fn history(&self) -> Vec<Transition> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn set(&self, state: State) {
        // Progress within a state is news to watchers, but no transition.
        let changed = self.status.borrow().state != state;
        if changed && discriminant(&self.status.borrow().state) != discriminant(&state) {
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            if history.len() == REMEMBERED {
                history.pop_front();
            }
            history.push_back(Transition { at: self.host.now_micros(), state: state.clone() });
        }
        if changed {
            self.status.send_modify(|status| status.state = state);
        }
    }

    pub(crate) fn set_first_sync(&self, first_sync: FirstSync) {
        self.status.send_if_modified(|status| {
            std::mem::replace(&mut status.first_sync, first_sync) != first_sync
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Board, FirstSync, REMEMBERED, Rows, State};
    use crate::host::TestHost;

    #[test]
    fn the_last_transitions_are_kept_with_their_times_and_progress_is_none() {
        let board = Board::new(Arc::new(TestHost::new(1)));
        for round in 0..100 {
            board.set(State::Connecting);
            for done in 0..10 {
                board.set(State::Applying(Rows { done, total: Some(10), rows_per_second: 1 }));
            }
            board.set(State::UpToDate { since: round });
        }
        let history = board.history();
        assert_eq!(history.len(), REMEMBERED);
        assert_eq!(history.last().unwrap().state, State::UpToDate { since: 99 });
        assert!(history.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert!(history.windows(3).all(|three| three[0].state != three[1].state));
    }

    #[test]
    fn watchers_are_told_of_news_only() {
        let board = Board::new(Arc::new(TestHost::new(1)));
        let mut watch = board.watch();
        board.set(State::Idle);
        board.set_first_sync(FirstSync::Absent);
        assert!(!watch.has_changed().unwrap());
        board.set_first_sync(FirstSync::Partial);
        assert!(watch.has_changed().unwrap());
        assert_eq!(watch.borrow_and_update().first_sync, FirstSync::Partial);
        board.set(State::NeedsAuth);
        assert!(watch.has_changed().unwrap());
    }

    #[test]
    fn a_status_reads_well_in_a_diagnosis() {
        let board = Board::new(Arc::new(TestHost::new(1)));
        board.set(State::Applying(Rows { done: 3, total: None, rows_per_second: 7 }));
        let json = serde_json::to_string(&board.now()).unwrap();
        let expected = r#"{"state":"applying","done":3,"total":null,"rows_per_second":7,"first_sync":"absent"}"#;
        assert_eq!(json, expected);
    }
}
