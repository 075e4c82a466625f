//! What the server has accepted: to show it, to take it back, and to forget it.

use std::time::Duration;

use rejoin_core as core;

use crate::RejoinClient;
use crate::error::Result;
use crate::queue::{PendingRow, named};
use crate::value::small;

/// A mutation that the server has accepted.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct AcceptedMutation {
    /// Its place in the queue, when it was there.
    pub seq: i64,
    /// Its name, here and on the server.
    pub id: String,
    /// The action's name; nothing for plain SQL.
    pub action: Option<String>,
    /// When it was written: milliseconds since 1970.
    pub written_ms: i64,
    /// When its verdict came: milliseconds since 1970.
    pub accepted_ms: i64,
    /// The number of the attempt that was accepted, from 1.
    pub attempt: i64,
    /// The mutation that it takes back, by undo or redo.
    pub undoes: Option<String>,
    /// What it did, a row each; the old values are those that it displaced on the server.
    pub rows: Vec<PendingRow>,
}

/// What became of an undo or a redo.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Undone {
    /// The mutation had no verdict yet: it was given up, as by `discard`.
    GivenUp,
    /// A mutation takes it back; it waits to be sent like any other.
    By {
        /// That mutation.
        id: String,
    },
    /// There was nothing to take back: the server's rows were so already before it.
    Nothing,
}

/// How much of what was accepted is kept. What is left out is as by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct HistoryBounds {
    /// Most mutations. Default 1,000.
    #[uniffi(default = None)]
    pub count: Option<u32>,
    /// Most bytes of what they wrote. Default 16 MiB.
    #[uniffi(default = None)]
    pub bytes: Option<u32>,
    /// How long, in seconds from the verdict on. Default thirty days.
    #[uniffi(default = None)]
    pub age_seconds: Option<u32>,
}

#[uniffi::export]
impl RejoinClient {
    /// What the server has accepted and the file still remembers, the newest first, at most `most`.
    pub async fn history(&self, most: u32) -> Result<Vec<AcceptedMutation>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(self.inner.history(most).await?.into_iter().map(AcceptedMutation::from).collect())
    }

    /// Takes a mutation back. One without a verdict is given up, as by `discard`; of an accepted one each column goes back to what
    /// it displaced on the server, by a new mutation, which is only ever compared. Works offline. All of it, or nothing.
    ///
    /// Throws `Changed` with the rows if any of it does not stand any more; `InvalidInput` if the file has forgotten it, and for a
    /// parked one, of which nothing is in the rows.
    pub async fn undo(&self, id: String) -> Result<Undone> {
        Ok(self.inner.undo(named(&id)?).await?.into())
    }

    /// Takes the undo of a mutation back: `id` is the one that was undone.
    ///
    /// Throws `InvalidInput` if it was not undone, or is done again already; else as `undo`.
    pub async fn redo(&self, id: String) -> Result<Undone> {
        Ok(self.inner.redo(named(&id)?).await?.into())
    }

    /// Forgets what was accepted beyond these bounds, at once; tells how many mutations. They cannot be undone any more. Without a
    /// call the default bounds are kept whenever something is accepted.
    pub async fn prune(&self, bounds: HistoryBounds) -> Result<u32> {
        Ok(small(self.inner.prune(bounds.into()).await? as u64))
    }
}

impl From<HistoryBounds> for core::HistoryBounds {
    fn from(bounds: HistoryBounds) -> Self {
        let default = Self::default();
        let age = bounds.age_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        Self {
            count: bounds.count.unwrap_or(default.count),
            bytes: bounds.bytes.map_or(default.bytes, u64::from),
            age: age.unwrap_or(default.age),
        }
    }
}

impl From<core::Undone> for Undone {
    fn from(undone: core::Undone) -> Self {
        match undone {
            core::Undone::GivenUp => Self::GivenUp,
            core::Undone::By(id) => Self::By { id: id.to_string() },
            core::Undone::Nothing => Self::Nothing,
        }
    }
}

impl From<core::Accepted> for AcceptedMutation {
    fn from(accepted: core::Accepted) -> Self {
        Self {
            seq: accepted.seq.0,
            id: accepted.id.to_string(),
            action: accepted.action,
            written_ms: accepted.written_ms,
            accepted_ms: accepted.accepted_ms,
            attempt: accepted.attempt,
            undoes: accepted.undoes.map(|id| id.to_string()),
            rows: accepted.rows.into_iter().map(PendingRow::from).collect(),
        }
    }
}
