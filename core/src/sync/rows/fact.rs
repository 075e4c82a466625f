//! Facts that the device stores between requests, as rows of `rejoin_meta`.
//!
//! A session keeps no durable state: each fact is written in the transaction that it describes, so
//! that no crash loses it.

use rejoin_protocol::wire::RowName;
use rejoin_protocol::wire::snapshot::{SnapshotCursor, is_page_address};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::engine::entries;
pub(crate) use crate::engine::meta::{PEER, PLAIN};
use crate::error::{Error, Result, StorageFault};
use crate::sync::status::FirstSync;

pub(crate) const CLIENT_ID: &str = "client_id";
/// The previous client id, until the server has confirmed the current one.
pub(crate) const REPLACES: &str = "replaces";
pub(crate) const INCARNATION: &str = "incarnation";
pub(crate) const EPOCH: &str = "epoch";
pub(crate) const CURSOR: &str = "cursor";
pub(crate) const HELD: &str = "held";
/// The log tip after the last push or snapshot page, until a pull has passed it.
pub(crate) const WITNESS: &str = "witness";
pub(crate) const RECHECK: &str = "recheck";
pub(crate) const SUBJECT: &str = "subject";
/// The user of the credentials, if the app uses its own user names.
pub(crate) const CREDENTIALS: &str = "credentials";
/// The user that the credentials named at the last register. The only user name with a plain
/// server.
pub(crate) const TOKEN: &str = "token_subject";
/// No request has used this number or a higher one.
pub(crate) const REQUEST: &str = "request";
pub(crate) const FIRST_SYNC: &str = "first_sync";
/// The server has a new epoch: `due` until the mutations that the old one accepted are queued
/// again, then `rebuild` until the new rows are here. Nothing is pushed before.
pub(crate) const RECALL: &str = "recall";
/// The last epoch of this device's rows, while another server answers under its URL. Its empty
/// tables must not replace the device's rows.
pub(crate) const OTHER_SERVER: &str = "other_server";
/// The running snapshot ([`SnapshotProgress`]).
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Why a snapshot must start ([`RefetchReason`]).
pub(crate) const SNAPSHOT_DUE: &str = "snapshot_due";

/// The position in a plain server's log, which is its only cursor.
pub(crate) const CHECKPOINT: &str = "plain_checkpoint";
/// When a plain server was last pulled, in microseconds.
pub(crate) const LAST_PULL: &str = "plain_last_pull";
/// The buckets that a plain server last returned.
pub(crate) const BUCKETS: &str = "plain_buckets";

/// `first_sync` during the first snapshot.
pub(crate) const PARTIAL: &str = "partial";
/// `first_sync` after the first snapshot.
pub(crate) const DONE: &str = "done";

/// A fact and its new value; `None` removes it.
pub(crate) type Fact = (String, Option<String>);

/// Sets a fact.
pub(crate) fn fact(key: &str, value: impl Into<String>) -> Fact {
    (key.to_owned(), Some(value.into()))
}

/// Removes a fact.
pub(crate) fn forget(key: &str) -> Fact {
    (key.to_owned(), None)
}

/// Writes facts in their own transaction.
pub(crate) fn write(engine: &mut Engine, facts: &[Fact]) -> Result<()> {
    engine.write(Origin::Remote, |engine| set(engine, facts))
}

/// Writes facts in the current transaction.
pub(crate) fn set(engine: &mut Engine, facts: &[Fact]) -> Result<()> {
    facts.iter().try_for_each(|(key, value)| engine.set_meta(key, value.as_deref()))
}

/// Why all rows must be fetched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefetchReason {
    /// The server's log has a new epoch.
    Epoch,
    /// The cursor is too old.
    Retention,
    /// Tables or columns were added.
    Schema,
    /// The app has requested it, or a check has found many damaged rows.
    Resync,
}

/// How a snapshot is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SnapshotMode {
    /// Page by page, into tables without rows of the server.
    Straight,
    /// Into staging tables, merged at the end.
    Staged,
}

/// A running snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotProgress {
    pub(crate) mode: SnapshotMode,
    /// Its reason; `None` for a first sync.
    pub(crate) why: Option<RefetchReason>,
    /// The epoch of its pages; empty before the first.
    pub(crate) epoch: String,
    /// The end of the last page; `None` before the first and after the last.
    pub(crate) cursor: Option<SnapshotCursor>,
    /// Where the snapshot is in the shared pages of a table, beyond `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shared: Option<SharedPlace>,
    /// Shared pages that were lost or refused since the last one arrived.
    #[serde(default)]
    pub(crate) shared_failures: u32,
    /// The pull cursor of the first page, stored with it.
    pub(crate) pull_cursor: Option<String>,
    /// Whether every page is here; then the tail follows.
    pub(crate) paged: bool,
    /// The buckets of the last tail page.
    pub(crate) held: Option<String>,
    /// Consecutive pages without new rows; detects a server without an end.
    #[serde(default)]
    pub(crate) stale: u32,
    /// Consecutive failures of its next page.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Rows so far, and the total counted by the server; for progress.
    pub(crate) rows: i64,
    pub(crate) total: i64,
}

/// After as many failures in a row, a snapshot goes on without shared pages.
const SHARED_FAILURES_MOST: u32 = 3;

/// A place in the shared pages of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedPlace {
    /// The address that the last response named.
    pub(crate) address: String,
    /// Whether the page at this address is next. Otherwise the server itself continues after the last shared page, and
    /// knows it by this address.
    pub(crate) is_next: bool,
}

impl SnapshotProgress {
    pub(crate) fn begin(mode: SnapshotMode, why: Option<RefetchReason>) -> Self {
        Self {
            mode,
            why,
            epoch: String::new(),
            cursor: None,
            shared: None,
            shared_failures: 0,
            pull_cursor: None,
            paged: false,
            held: None,
            stale: 0,
            failures: 0,
            rows: 0,
            total: 0,
        }
    }

    pub(crate) fn load(engine: &Engine) -> Result<Option<Self>> {
        json(engine, SNAPSHOT)
    }

    /// The address of the next page, if it is a shared one.
    pub(crate) fn next_address(&self) -> Option<&str> {
        // An earlier release stored addresses that it had not checked.
        let shared = self.shared.as_ref().filter(|shared| shared.is_next)?;
        is_page_address(&shared.address).then_some(&shared.address)
    }

    /// Whether to request further shared pages: a proxy may not know their paths.
    pub(crate) fn takes_shared(&self) -> bool {
        self.shared_failures < SHARED_FAILURES_MOST
    }

    /// The server itself continues, although the next page is a shared one.
    pub(crate) fn leave_shared(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.is_next = false;
        }
    }

    /// Moves to the end of the page that was requested.
    pub(crate) fn pass_page(
        &mut self,
        cursor: Option<SnapshotCursor>,
        has_more: bool,
        address: String,
    ) {
        let was_shared = self.next_address().is_some();
        let shared = SharedPlace { address, is_next: has_more };
        self.shared = Some(shared).filter(|shared| !shared.address.is_empty());
        if was_shared {
            self.shared_failures = 0;
        } else {
            self.paged = !has_more;
            self.cursor = cursor.filter(|_| has_more);
        }
    }

    pub(crate) fn fact(&self) -> Fact {
        (SNAPSHOT.to_owned(), serde_json::to_string(self).ok())
    }
}

/// Whether the tables of both models have had the server's rows.
pub(crate) fn first_sync(engine: &Engine) -> Result<FirstSync> {
    let of_rows = FirstSync::read(engine.meta(FIRST_SYNC)?.as_deref());
    let waits = of_rows == FirstSync::Done && !entries::is_filled(engine)?;
    Ok(if waits { FirstSync::Partial } else { of_rows })
}

/// Whether and why a snapshot must start.
pub(crate) fn due(engine: &Engine) -> Result<Option<RefetchReason>> {
    json(engine, SNAPSHOT_DUE)
}

/// Makes a snapshot due, and discards the running one.
pub(crate) fn snapshot_due(why: RefetchReason) -> Vec<Fact> {
    vec![(SNAPSHOT_DUE.to_owned(), serde_json::to_string(&why).ok()), forget(SNAPSHOT)]
}

/// Rows to request again at the next pull.
pub(crate) fn recheck(engine: &Engine) -> Result<Vec<RowName>> {
    Ok(json(engine, RECHECK)?.unwrap_or_default())
}

/// [`recheck`] as a fact.
pub(crate) fn recheck_fact(rows: &[RowName]) -> Fact {
    let rows = (!rows.is_empty()).then(|| serde_json::to_string(rows).ok()).flatten();
    (RECHECK.to_owned(), rows)
}

/// Shows the server how far it had come: the log tip of the last push that no pull has passed, or
/// else the cursor. A response's log tip replaces it, so it must not be older. Empty before both.
pub(crate) fn witness(engine: &Engine) -> Result<String> {
    match engine.meta(WITNESS)? {
        Some(witness) => Ok(witness),
        None => Ok(engine.meta(CURSOR)?.unwrap_or_default()),
    }
}

/// Buckets as one canonical text.
pub(crate) fn held_text(held: &[String]) -> String {
    let mut held: Vec<&String> = held.iter().collect();
    held.sort();
    held.dedup();
    serde_json::to_string(&held).unwrap_or_default()
}

fn json<T: for<'de> Deserialize<'de>>(engine: &Engine, key: &str) -> Result<Option<T>> {
    let Some(text) = engine.meta(key)? else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::Storage(StorageFault::Corrupt(format!("fact {key}: {error}"))))
}
