//! Checks that the strings of a request are not longer than the [limits](crate::limits).
//!
//! The server refuses longer strings in requests, and a device refuses them in its configuration.

use crate::limits::{ADDRESS, CLIENT_NAME, CURSOR, NAME};
use crate::wire::pull::PullRequest;
use crate::wire::push::PushRequest;
use crate::wire::register::RegisterRequest;
use crate::wire::snapshot::SnapshotRequest;

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
        check("rejoin.page", &ask.page, ADDRESS)
    }
}
