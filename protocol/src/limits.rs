//! Maximum lengths of strings in the protocol, in bytes, and their check.
//!
//! The server refuses longer strings in requests, and a device refuses them in its configuration;
//! `docs/protocol.md` lists the limits. Keys, values and names of tables and columns have no limit
//! here: if the server's database refuses one, the verdict reports it.

use crate::wire::pull::PullRequest;
use crate::wire::push::PushRequest;
use crate::wire::register::RegisterRequest;
use crate::wire::snapshot::SnapshotRequest;

/// Names for machines: ids, hashes, epochs, versions, capabilities, times.
pub const NAME: usize = 255;

/// The display name of a device.
pub const CLIENT_NAME: usize = 1_024;

/// A cursor or a witness.
pub const CURSOR: usize = 4_096;

/// The header with the subscriptions: proxies limit headers to 8 KiB.
pub const SUBSCRIPTIONS: usize = 6 * 1024;

/// Changes of one mutation, and the rows that it read.
pub const GROUP_CHANGES: usize = 100_000;

/// Bytes of the content of one group as JSON. A device refuses a transaction with more than half as
/// many bytes of values.
pub const GROUP_BYTES: usize = 128 * 1024 * 1024;

/// Changes in one push, unless the server has another limit. A device stages a group with more.
pub const PUSH_CHANGES: usize = 10_000;

/// Slices into which a digest divides a table.
pub const DIGEST_SLICES: u32 = 4_096;

/// Rows of one slice that a digest lists.
pub const DIGEST_ROWS: usize = 50_000;

/// Entries in one publish request of the log, or corrections in one of the authority.
pub const LOG_OFFERS: usize = 1_000;

/// Items in one page of the log; a device that wants more gets this many.
pub const LOG_PAGE: usize = 1_000;

/// Base rows in one page of a snapshot of the log; a device that wants more gets this many.
pub const LOG_SNAPSHOT_PAGE: usize = 10_000;

/// Bytes of content after which a page of the log ends. One item may exceed it alone.
pub const LOG_PAGE_BYTES: usize = 1024 * 1024;

/// Entries that touch rows of the log that were requested by name. A device whose rows have more takes
/// a snapshot.
pub const LOG_ROWS_ENTRIES: usize = 2_000;

/// Bytes of content of rows of the log that were requested by name. A device whose rows have more
/// takes a snapshot.
pub const LOG_ROWS_BYTES: usize = 4 * 1024 * 1024;

/// Rows that one entry of the log names.
pub const LOG_EFFECTS: usize = 10_000;

/// Bytes of one entry of the log: names, keys and values of its effects and of its arguments.
pub const LOG_ENTRY: usize = 4 * 1024 * 1024;

/// The key of a row in the log: with its table it must fit into an index of PostgreSQL.
pub const ROW_ID: usize = 1_024;

/// A string that exceeds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{member} has {length} bytes, and at most {most} are allowed: send a shorter one")]
pub struct TooLong {
    /// The path of the member in the request.
    pub member: &'static str,
    /// Its length in bytes.
    pub length: usize,
    /// The limit.
    pub most: usize,
}

/// A request with length limits.
pub trait Bounded {
    /// The first member that is too long.
    fn check_lengths(&self) -> Result<(), TooLong>;
}

fn check(member: &'static str, text: &str, most: usize) -> Result<(), TooLong> {
    let length = text.len();
    if length > most { Err(TooLong { member, length, most }) } else { Ok(()) }
}

fn check_all<'t>(
    member: &'static str,
    texts: impl IntoIterator<Item = &'t String>,
    most: usize,
) -> Result<(), TooLong> {
    texts.into_iter().try_for_each(|text| check(member, text, most))
}

fn check_frame(client_id: &str, schema_hash: &str) -> Result<(), TooLong> {
    check("client_id", client_id, NAME)?;
    check("schema_hash", schema_hash, NAME)
}

impl Bounded for RegisterRequest {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_frame(&self.client_id, &self.schema_hash)?;
        check_all("client_name", &self.client_name, CLIENT_NAME)?;
        check("platform", &self.platform, NAME)?;
        check("app_version", &self.app_version, NAME)?;
        let Some(hello) = &self.rejoin else { return Ok(()) };
        check_all("rejoin.capabilities", &hello.capabilities, NAME)?;
        check("rejoin.opening", &hello.opening, NAME)?;
        check_all("rejoin.replaces", &hello.replaces, NAME)?;
        check_all("rejoin.cursor", &hello.cursor, CURSOR)?;
        check_all("rejoin.witness", &hello.witness, CURSOR)
    }
}

impl Bounded for PushRequest {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_frame(&self.client_id, &self.schema_hash)?;
        for change in &self.changes {
            check("changes.client_updated_at", &change.client_updated_at, NAME)?;
            check_all("changes.base_updated_at", &change.base_updated_at, NAME)?;
        }
        let Some(ask) = &self.rejoin else { return Ok(()) };
        check("rejoin.epoch", &ask.epoch, NAME)?;
        check("rejoin.witness", &ask.witness, CURSOR)?;
        for group in &ask.groups {
            check("rejoin.groups.id", &group.id, NAME)?;
            check("rejoin.groups.hash", &group.hash, NAME)?;
            check_all("rejoin.groups.after", &group.after, NAME)?;
            check("rejoin.groups.time", &group.time, NAME)?;
            check_all("rejoin.groups.staged", group.staged.iter().map(|one| &one.content), NAME)?;
        }
        check_all("rejoin.cancel.id", ask.cancel.iter().map(|cancel| &cancel.id), NAME)
    }
}

impl Bounded for PullRequest {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_frame(&self.client_id, &self.schema_hash)?;
        let Some(ask) = &self.rejoin else { return Ok(()) };
        check("rejoin.cursor", &ask.cursor, CURSOR)?;
        check("rejoin.witness", &ask.witness, CURSOR)
    }
}

impl Bounded for SnapshotRequest {
    fn check_lengths(&self) -> Result<(), TooLong> {
        check_frame(&self.client_id, &self.schema_hash)?;
        let Some(ask) = &self.rejoin else { return Ok(()) };
        check("rejoin.epoch", &ask.epoch, NAME)?;
        check("rejoin.witness", &ask.witness, CURSOR)?;
        check("rejoin.page", &ask.page, CURSOR)
    }
}
