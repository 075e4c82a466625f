//! An answer of a server, as data, and what it did.

use rejoin_protocol::wire::push::Ending;
use rejoin_protocol::wire::row::RowSet;
use rejoin_protocol::wire::snapshot::KeyRange;

use crate::engine::queue::mutation::ParkReason;
use crate::engine::rows::Image;
use crate::engine::rows::patch::RowKey;
use crate::ids::MutationId;

/// An answer of a server, as far as rows and mutations are concerned.
#[derive(Debug, Default)]
pub struct Batch {
    /// Verdicts of a push answer.
    pub verdicts: Vec<ServerVerdict>,
    /// Verdicts of a plain server, on records.
    pub records: Vec<Settled>,
    /// The rows before accepted mutations, those that the server sends (O13).
    pub displaced: Vec<(MutationId, Vec<Image>)>,
    /// The time of these verdicts by the server's clock, in milliseconds since 1970; the device's clock counts without it.
    pub server_ms: Option<i64>,
    /// Words on mutations that were withdrawn (O12).
    pub withdrawn: Vec<Withdrawn>,
    /// Rows as they now stand.
    pub images: Vec<Image>,
    /// Rows that a plain server's log reports as deleted at an earlier time (P6): they leave the base. Edits that wait on them
    /// are not checked for conflicts, because only the push's answer says what became of the row since.
    pub history: Vec<RowKey>,
    /// Rows of pulls and straight snapshots, in key order; decoded while they are bound.
    pub sets: Vec<RowSet>,
    /// Key ranges of which the sets hold every row: base rows in them that the sets lack go (C5).
    pub ranges: Vec<KeyRange>,
    /// Whether edits that wait on these rows are checked for conflicts (O6); not before a straight first sync has paged them.
    pub judge: bool,
    /// Facts that commit with the rows (I6): cursor, epoch, recheck and the like. `None` removes one.
    pub meta: Vec<(String, Option<String>)>,
    /// A straight first sync: our triggers may be out of the way while its rows go in.
    pub bulk: bool,
}

/// A verdict on one attempt of one mutation (O2).
#[derive(Debug, Clone, PartialEq)]
pub struct ServerVerdict {
    /// The mutation; one that is not in the queue is passed over.
    pub id: MutationId,
    /// The attempt that was evaluated; another one than the queue's is passed over, unless it was accepted.
    pub attempt: i64,
    /// How it ended.
    pub ending: Ending,
    /// The reason, one of [`rejoin_protocol::wire::code`]; `None` if the server names none.
    pub code: Option<String>,
    /// The verdict as JSON, kept with a parked mutation.
    pub detail: Option<String>,
}

/// What an answer did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Base rows written or removed.
    pub rows: usize,
    /// Steps that were undone; those that stay are replayed afterwards.
    pub affected: usize,
    /// Mutations that are in the history now.
    pub accepted: Vec<MutationId>,
    /// Mutations that were parked, dependent ones among them.
    pub parked: Vec<MutationId>,
    /// How often the rebase started again from the beginning, because an action wrote something else than before (R4).
    pub started_over: usize,
}

/// A verdict on a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Which; one that has its verdict already is passed over.
    pub place: i64,
    /// How it ended.
    pub ending: RecordEnding,
    /// The server's words as JSON, kept with what is parked.
    pub detail: Option<String>,
}

/// How a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordEnding {
    /// The server has it.
    Accepted,
    /// The row has changed: its image is among the batch's. The record's edits are checked for conflicts with it.
    Conflict,
    /// The same, and the server will not take it upon this image either: parked.
    Stands,
    /// The server does not have it, and refuses it: its edits are sent one by one, because it may take some of them.
    Apart,
    /// Parked.
    Refused(ParkReason),
    /// Nothing was decided: it is sent again, and counted (P7).
    Again,
}

/// The server's word on a mutation that was withdrawn.
#[derive(Debug, Clone)]
pub struct Withdrawn {
    /// The mutation; one that is not waiting for it is passed over.
    pub id: MutationId,
    /// `Accepted` if the server has it; `Retry` decides nothing; anything else ends it.
    pub ending: Ending,
    /// The rows before it, those that the server sends.
    pub displaced: Vec<Image>,
}
