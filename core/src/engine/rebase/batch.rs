//! A server response as data, and the result of applying it.

use std::collections::HashMap;

use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::wire::row::RowSet;
use rejoin_protocol::wire::snapshot::KeyRange;

use crate::engine::queue::mutation::ParkReason;
use crate::engine::rows::ServerRow;
use crate::engine::rows::patch::RowKey;
use crate::ids::{MutationId, Seq};

/// The rows and verdicts of a server response.
#[derive(Debug, Default)]
pub struct Batch {
    /// Verdicts of a push response.
    pub verdicts: Vec<ServerVerdict>,
    /// Verdicts of a plain server on records.
    pub records: Vec<Settled>,
    /// Before-images of accepted mutations, as far as the server sends them.
    pub displaced: Vec<(MutationId, Vec<ServerRow>)>,
    /// What accepted mutations left where the server stored other values than they sent.
    pub left: Vec<(MutationId, Vec<ServerRow>)>,
    /// Of the columns in `left` that these mutations did not write, the values before them.
    pub computed: Vec<(MutationId, Vec<ServerRow>)>,
    /// Rows whose accepted edits, up to this one, become the base as they are: the batch has no image
    /// of them, and later edits cover them. All other verdicts are acceptances too.
    pub covered: HashMap<RowKey, Seq>,
    /// The server's time of these verdicts, in milliseconds since 1970; `None` uses the device's
    /// clock.
    pub server_ms: Option<i64>,
    /// Answers to cancelled mutations.
    pub withdrawn: Vec<Withdrawn>,
    /// Current rows on the server.
    pub images: Vec<ServerRow>,
    /// Rows that a plain server's log reports as deleted earlier: they leave the base. Pending
    /// edits of them are not checked for conflicts, because only the push response shows their
    /// later state.
    pub history: Vec<RowKey>,
    /// Rows of pulls and straight snapshots, in key order; decoded while they are bound.
    pub sets: Vec<RowSet>,
    /// Key ranges for which the sets contain every row: other base rows in them are removed.
    pub ranges: Vec<KeyRange>,
    /// Whether to detect conflicts with pending edits; off until a direct first sync has paged
    /// their rows.
    pub detect_conflicts: bool,
    /// Metadata that commits with the rows: cursor, epoch, recheck and the like. `None` removes a
    /// key.
    pub meta: Vec<(String, Option<String>)>,
    /// A direct first sync: the engine's triggers may be dropped while its rows are written.
    pub bulk: bool,
}

/// A verdict on one attempt of one mutation.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerVerdict {
    /// The mutation; ignored if it is not in the queue.
    pub id: MutationId,
    /// The evaluated attempt; ignored if the queue holds another attempt, unless it was accepted.
    pub attempt: i64,
    /// The outcome.
    pub ending: Ending,
    /// The reason, one of [`rejoin_protocol::wire::code`]; `None` if the server names none.
    pub code: Option<String>,
    /// The verdict as JSON, kept with a parked mutation.
    pub detail: Option<String>,
}

/// The result of applying a response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Base rows written or removed.
    pub rows: usize,
    /// Mutations that were undone; those that remain are replayed afterwards.
    pub affected: usize,
    /// Mutations that were moved to the history.
    pub accepted: Vec<MutationId>,
    /// Mutations that were parked, including dependent ones.
    pub parked: Vec<MutationId>,
    /// Number of times the rebase started over because a re-run action wrote something else than
    /// before.
    pub started_over: usize,
}

/// A verdict on a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Place of the record; ignored if it already has a verdict.
    pub place: i64,
    /// The outcome.
    pub ending: RecordEnding,
    /// The server's error as JSON, kept with the parked mutation.
    pub detail: Option<String>,
}

/// Outcome of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordEnding {
    /// The server has applied it.
    Accepted,
    /// The row has changed: its image is among the batch's. The record's edits are checked for conflicts with it.
    Conflict,
    /// Like `Conflict`, but the server also rejects the record on this image: parked.
    Stands,
    /// The server rejects the record as a whole: its edits are sent one by one, because some may be
    /// accepted.
    Apart,
    /// Parked.
    Refused(ParkReason),
    /// No decision: the record is sent again, and the failure is counted.
    Again,
}

/// The server's answer to a cancelled mutation.
#[derive(Debug, Clone)]
pub struct Withdrawn {
    /// The mutation; ignored if no answer is expected for it.
    pub id: MutationId,
    /// `Accepted` if the server has applied it; `Retry` decides nothing; anything else ends it.
    pub ending: Ending,
    /// Before-images, as far as the server sends them.
    pub displaced: Vec<ServerRow>,
    /// What it left where the server stored other values than it sent.
    pub left: Vec<ServerRow>,
}
