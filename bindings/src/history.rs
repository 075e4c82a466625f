//! Accepted mutations: list, undo and prune them.

use std::time::Duration;

use rejoin_core as core;

use crate::pending::PendingRow;

/// A mutation that the server has accepted.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct AcceptedMutation {
    /// Its former position in the queue; 0 for an entry of the log.
    pub seq: i64,
    /// Its id, here and on the server.
    pub id: String,
    /// The action's name; nothing for plain SQL.
    pub action: Option<String>,
    /// When it was written: milliseconds since 1970.
    pub written_ms: i64,
    /// When its verdict arrived: milliseconds since 1970. For an entry of the log whose verdict the app has
    /// acknowledged: when it was written.
    pub accepted_ms: i64,
    /// The number of the attempt that was accepted, from 1.
    pub attempt: i64,
    /// The mutation that it reverts, by undo or redo.
    pub undoes: Option<String>,
    /// Its changes, one entry per row; the old values are the server's before-images.
    pub rows: Vec<PendingRow>,
}

/// The result of an undo or a redo.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Undone {
    /// The mutation had no verdict yet: it was discarded, as by `discard`.
    GivenUp,
    /// A new mutation reverts it and waits to be sent.
    NewMutation {
        /// The id of the new mutation.
        id: String,
    },
    /// There was nothing to revert: the mutation changed nothing on the server.
    Nothing,
}

/// Limits of the history of accepted mutations. A missing field has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct HistoryBounds {
    /// Number of mutations. Default 1,000.
    #[uniffi(default = None)]
    pub count: Option<u32>,
    /// Bytes of their changes. Default 16 MiB.
    #[uniffi(default = None)]
    pub bytes: Option<u32>,
    /// Age since the verdict, in seconds. Default thirty days.
    #[uniffi(default = None)]
    pub age_seconds: Option<u32>,
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
            core::Undone::NewMutation(id) => Self::NewMutation { id: id.to_string() },
            core::Undone::Nothing => Self::Nothing,
        }
    }
}

impl From<core::AcceptedMutation> for AcceptedMutation {
    fn from(accepted: core::AcceptedMutation) -> Self {
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
