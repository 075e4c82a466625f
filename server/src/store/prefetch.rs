//! Hints about upcoming reads, so that a store across a network fetches them in one round trip.
//!
//! Hints do not change results: anything else is fetched when it is read. A local store ignores
//! them.

use rejoin_protocol::Value;

use crate::error::Fault;
use crate::model::{ReadScope, Table};

/// What a transaction reads first.
#[derive(Debug, Clone, Copy)]
pub struct ReadHint<'a> {
    /// The user of the transaction, whose device and buckets are read.
    pub user: &'a str,
    /// The user's device.
    pub client_id: &'a str,
    /// The positions whose tags are read, beside the end of the log.
    pub positions: &'a [i64],
    /// The page of entries, as the arguments of [`ReadLog::entries`](super::ReadLog::entries).
    pub entries: Option<(i64, &'a [String], usize)>,
}

/// Hints that a transaction accepts. By default they are ignored.
pub trait Prefetch {
    /// Announces what the transaction reads first.
    fn expect(&self, hint: &ReadHint<'_>) -> Result<(), Fault> {
        let _ = hint;
        Ok(())
    }

    /// Announces the images that are read next, by tables.
    fn expect_images(
        &self,
        named: &[(&Table, &[Option<Value>])],
        scope: &ReadScope,
    ) -> Result<(), Fault> {
        let _ = (named, scope);
        Ok(())
    }

    /// Announces a call of [`ReadLog::behind`](super::ReadLog::behind) after the next images.
    fn expect_behind(&self, position: i64, buckets: &[String]) {
        let _ = (position, buckets);
    }

    /// The secret that signs cursors, as last read by the store. It may be outdated, so it is valid
    /// for hints only. `None` if the store uses no hints.
    fn cursor_key(&self) -> Option<&str> {
        None
    }
}
