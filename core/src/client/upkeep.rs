//! Keeping the file in shape: the log bounded without anybody waiting for it.

use std::sync::Arc;

use super::Client;
use crate::engine::checkpoint::{CheckpointMode, Checkpointed};
use crate::engine::{Engine, ReadStop};
use crate::error::Result;
use crate::writer::Answer;

/// Between two writes that follow each other the log is moved only when it is so many times its limit.
const PATIENCE: u64 = 4;

/// At this many limits, reads that are open are noted; at twice as many, those still open are ended. SQLite cannot reuse
/// the log while a read needs it, so the log would grow for as long as the read lasts.
const BEHIND_READS: u64 = 8;

impl Client {
    /// Moves the write-ahead log into the file. The client does so itself when the log has grown; this is for the moment
    /// before a copy of the file is made, or when the app goes to sleep.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Full`](crate::Error::Full): the log stays as it was. Somebody in the way is
    /// no error; the result says so.
    pub fn checkpoint(&self, mode: CheckpointMode) -> Answer<Checkpointed> {
        self.core().writer.call(move |engine| engine.checkpoint(mode))
    }
}

/// Decides after each piece of the writer's work whether the log has to be moved.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Bytes of the log at which it is moved.
    limit: u64,
    /// Not before it is as large as this: who stood in the way still does a moment later.
    next: u64,
    stop: Arc<ReadStop>,
    /// The reads that were noted began before this mark.
    mark: Option<u64>,
}

impl Upkeep {
    pub(crate) fn new(limit: u64, stop: Arc<ReadStop>) -> Self {
        Self { limit, next: limit, stop, mark: None }
    }

    /// `idle` says that no work waits.
    pub(crate) fn look(&mut self, engine: &mut Engine, idle: bool) {
        if let Err(error) = self.tidy(engine, idle) {
            // The next commit meets the same trouble, and tells it to somebody.
            tracing::warn!(%error, "the log was not moved into the file");
        }
    }

    fn tidy(&mut self, engine: &mut Engine, idle: bool) -> Result<()> {
        let used = engine.log_in_use(self.limit)?;
        if used < self.limit {
            self.next = self.limit;
            self.mark = None;
            return Ok(());
        }
        self.end_old_reads(used);
        let bound = if idle { self.next } else { self.next.max(PATIENCE * self.limit) };
        if used >= bound {
            // When all of it was moved and nobody reads from it, the next write begins it anew.
            engine.checkpoint(CheckpointMode::Passive)?;
            self.next = used + self.limit / 4;
        }
        Ok(())
    }

    fn end_old_reads(&mut self, used: u64) {
        if used < BEHIND_READS * self.limit {
            return;
        }
        let mark = *self.mark.get_or_insert_with(|| self.stop.mark());
        if used >= 2 * BEHIND_READS * self.limit {
            tracing::warn!(
                bytes = used,
                "the write-ahead log is too large; reads that keep it from being reused are ended"
            );
            self.stop.end_before(mark);
            self.mark = None;
        }
    }
}
