//! Registered clients: the server's state of each device.

use std::collections::BTreeMap;

use crate::changelog::Changelog;
use crate::{Compaction, time};

/// A registered client. Times are microseconds since 1970.
#[derive(Debug, Clone)]
pub struct Client {
    /// The id assigned by the server.
    pub id: String,
    /// The client name of its last registration.
    pub name: Option<String>,
    /// Its platform.
    pub platform: String,
    /// The app version of its last registration.
    pub app_version: String,
    /// Its buckets; set once, at its first registration.
    pub buckets: Vec<String>,
    /// Time of its last pull or push.
    pub last_sync: Option<i64>,
    /// Time of its last pull, or of the end of its last snapshot.
    pub last_pull: Option<i64>,
    /// Time of its last push.
    pub last_push: Option<i64>,
    /// Its checkpoint.
    pub last_pull_seq: Option<i64>,
    /// Whether compaction waits for it.
    pub active: bool,
}

impl Client {
    /// Advances its checkpoint; a lower position is ignored.
    pub(crate) fn advance(&mut self, seq: i64, now: i64) {
        if self.last_pull_seq.is_none_or(|last| last < seq) {
            self.last_pull_seq = Some(seq);
            self.last_pull = Some(now);
            self.last_sync = Some(now);
        }
    }

    pub(crate) fn last_sync_text(&self) -> Option<String> {
        self.last_sync.map(time::in_message)
    }
}

/// All clients, by user and client id.
#[derive(Debug, Default)]
pub(crate) struct Clients(pub(crate) BTreeMap<(String, String), Client>);

impl Clients {
    pub(crate) fn get(&mut self, user: &str, client: &str) -> Option<&mut Client> {
        self.0.get_mut(&(user.to_owned(), client.to_owned()))
    }

    /// Deactivates clients inactive since before `quiet_since`, then removes log entries that every
    /// active client that has ever pulled has reached.
    pub(crate) fn compact(&mut self, log: &mut Changelog, quiet_since: i64) -> Compaction {
        let mut deactivated = 0;
        for client in self.0.values_mut() {
            if client.active && client.last_sync.is_some_and(|last| last < quiet_since) {
                client.active = false;
                deactivated += 1;
            }
        }
        let places = self.0.values().filter(|client| client.active);
        let safe_seq = places.filter_map(|client| client.last_pull_seq).min().unwrap_or(0);
        Compaction { deactivated, safe_seq, deleted: log.forget(safe_seq) }
    }
}
