//! What the device must remember between two requests, as rows of `rejoin_meta`.
//!
//! A session holds nothing that matters: each of these is written in the transaction of what it speaks of (I6), so that
//! a crash between any two exchanges loses none of them.

use rejoin_protocol::wire::RowName;
use rejoin_protocol::wire::snapshot::SnapshotCursor;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::change::Origin;
use crate::error::{Error, Result};

pub(crate) const CLIENT_ID: &str = "client_id";
/// The id before the present one, until the server has heard of the present one (O15).
pub(crate) const REPLACES: &str = "replaces";
pub(crate) const INCARNATION: &str = "incarnation";
pub(crate) const EPOCH: &str = "epoch";
pub(crate) const CURSOR: &str = "cursor";
pub(crate) const HELD: &str = "held";
/// The position after the last push, or at the last page of a snapshot, until a pull has passed it (O14).
pub(crate) const WITNESS: &str = "witness";
pub(crate) const RECHECK: &str = "recheck";
pub(crate) const SUBJECT: &str = "subject";
/// Whom the credentials named, where the app gives users a name of its own.
pub(crate) const CREDENTIALS: &str = "credentials";
/// Whom the credentials name by their own words, as they were when the device registered last. A plain server has no other.
pub(crate) const TOKEN: &str = "token_subject";
/// No request has, or will have, this number or a higher one until it is raised.
pub(crate) const REQUEST: &str = "request";
pub(crate) const FIRST_SYNC: &str = "first_sync";
/// Another epoch began (O14): `due` until what the old one had accepted is back in the queue, then `rebuild` until the
/// new one's rows are here. Nothing is pushed before.
pub(crate) const RECALL: &str = "recall";
/// The epoch in which the rows of this device were last in step, while the server under its URL is another one that has not shown
/// the same tables filled. Nothing of the device is replaced by its empty tables.
pub(crate) const OTHER_SERVER: &str = "other_server";
/// A snapshot on its way ([`Snapshot`]).
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Why a snapshot must begin ([`Due`]).
pub(crate) const SNAPSHOT_DUE: &str = "snapshot_due";

/// `plain` in a file whose rows and whose unanswered records are those of a plain server; else there is none.
pub(crate) const PEER: &str = "peer";
/// The position in a plain server's log; it knows no other cursor.
pub(crate) const CHECKPOINT: &str = "plain_checkpoint";
/// When a plain server was last asked what changed, in microseconds (P9).
pub(crate) const LAST_PULL: &str = "plain_last_pull";
/// The buckets that a plain server last named.
pub(crate) const BUCKETS: &str = "plain_buckets";

/// The value of [`PEER`].
pub(crate) const PLAIN: &str = "plain";

/// `first_sync` while the first snapshot is on its way.
pub(crate) const PARTIAL: &str = "partial";
/// `first_sync` once everything has been here.
pub(crate) const DONE: &str = "done";

/// One fact and its new value; `None` forgets it.
pub(crate) type Fact = (String, Option<String>);

/// A fact to write.
pub(crate) fn fact(key: &str, value: impl Into<String>) -> Fact {
    (key.to_owned(), Some(value.into()))
}

/// A fact to forget.
pub(crate) fn forget(key: &str) -> Fact {
    (key.to_owned(), None)
}

/// Writes facts, all or none, when no rows belong to them.
pub(crate) fn write(engine: &mut Engine, facts: &[Fact]) -> Result<()> {
    engine.write(Origin::Remote, |engine| set(engine, facts))
}

/// Writes facts within the transaction that runs.
pub(crate) fn set(engine: &mut Engine, facts: &[Fact]) -> Result<()> {
    facts.iter().try_for_each(|(key, value)| engine.set_meta(key, value.as_deref()))
}

/// Why the rows must come whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Due {
    /// Another life of the server's log (D13).
    Epoch,
    /// The cursor can no longer be served (C3).
    Retention,
    /// Tables or columns were gained (S3).
    Schema,
}

/// How a snapshot reaches the tables (B7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Page by page, into tables that hold no row of the server's.
    Straight,
    /// Into staging tables, merged at the end (D14).
    Staged,
}

/// A snapshot on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) mode: Mode,
    /// Why it began; `None` for a first sync.
    pub(crate) why: Option<Due>,
    /// The epoch of its pages; empty before the first.
    pub(crate) epoch: String,
    /// Where the last page ended; `None` before the first and after the last.
    pub(crate) cursor: Option<SnapshotCursor>,
    /// The pull cursor of the first page, stored with it (C5).
    pub(crate) pull_cursor: Option<String>,
    /// Whether every page is here; what follows is the tail.
    pub(crate) paged: bool,
    /// The buckets of the last tail page.
    pub(crate) held: Option<String>,
    /// Pages in a row that brought nothing new; a server that has no end is found out by them.
    #[serde(default)]
    pub(crate) stale: u32,
    /// How often its next page failed in a row.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Rows so far, and rows in all as the server counted them; for progress.
    pub(crate) rows: i64,
    pub(crate) total: i64,
}

impl Snapshot {
    pub(crate) fn begin(mode: Mode, why: Option<Due>) -> Self {
        Self {
            mode,
            why,
            epoch: String::new(),
            cursor: None,
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

    pub(crate) fn fact(&self) -> Fact {
        (SNAPSHOT.to_owned(), serde_json::to_string(self).ok())
    }
}

/// Whether and why a snapshot must begin.
pub(crate) fn due(engine: &Engine) -> Result<Option<Due>> {
    json(engine, SNAPSHOT_DUE)
}

/// A snapshot must begin, whatever is on its way: its pages are of no use any more.
pub(crate) fn snapshot_due(why: Due) -> Vec<Fact> {
    vec![(SNAPSHOT_DUE.to_owned(), serde_json::to_string(&why).ok()), forget(SNAPSHOT)]
}

/// Rows to be named again at the next pull (O9).
pub(crate) fn recheck(engine: &Engine) -> Result<Vec<RowName>> {
    Ok(json(engine, RECHECK)?.unwrap_or_default())
}

/// The rows to be named again, as a fact.
pub(crate) fn recheck_fact(rows: &[RowName]) -> Fact {
    let rows = (!rows.is_empty()).then(|| serde_json::to_string(rows).ok()).flatten();
    (RECHECK.to_owned(), rows)
}

/// What shows the server how far it had come, and what it had accepted: the witness of the last push that no pull has passed
/// yet, else the cursor (O14). The answer's witness takes its place, so it must not know less. Empty before both.
pub(crate) fn witness(engine: &Engine) -> Result<String> {
    match engine.meta(WITNESS)? {
        Some(witness) => Ok(witness),
        None => Ok(engine.meta(CURSOR)?.unwrap_or_default()),
    }
}

/// Buckets in one text, so that equal sets are equal texts.
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
        .map_err(|error| Error::Corrupt(format!("fact {key}: {error}")))
}
