//! The queue of mutations.

pub mod mutation;

use rusqlite::Connection;

use crate::engine::schema::model::Schema;
use crate::error::Result;

/// What is known of the queue without reading it.
#[derive(Debug, Default)]
pub struct Queue {}

impl Queue {
    /// Reads the index of the queue.
    pub(crate) fn load(_: &Connection, _: &Schema) -> Result<Self> {
        Ok(Self {})
    }

    /// The present transaction was committed.
    pub(crate) fn committed(&mut self) {}

    /// The present transaction was rolled back.
    pub(crate) fn rolled_back(&mut self) {}
}
