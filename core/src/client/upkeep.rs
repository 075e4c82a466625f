//! Checkpoints of the write-ahead log, without blocking the app.

use std::sync::Arc;

use super::StorageHandle;
use crate::engine::checkpoint;
use crate::engine::checkpoint::{CheckpointMode, Checkpointed};
use crate::engine::{Engine, ReadStop};
use crate::error::Result;
use crate::writer::Task;

/// While writes are queued, the log is checkpointed only at this multiple of its limit.
const BUSY_FACTOR: u64 = 4;

/// At this multiple of the limit, open reads are recorded; at twice the multiple, those that are
/// still open are ended. SQLite cannot reuse the log while a read needs it.
const OLD_READS_FACTOR: u64 = 8;

impl StorageHandle<'_> {
    /// Checkpoints the write-ahead log. The client does so automatically when the log grows; call
    /// this before copying the file or before the app is suspended.
    ///
    /// # Errors
    /// [`StorageFault::Io`](crate::StorageFault::Io), [`StorageFault::Full`](crate::StorageFault::Full): the log is unchanged.
    /// A reader that prevents the checkpoint is no error; the result reports it.
    pub fn checkpoint(&self, mode: CheckpointMode) -> Task<Checkpointed> {
        self.0.core().writer.call(move |engine| checkpoint::checkpoint(engine, mode))
    }
}

/// Decides after each task of the writer whether to checkpoint the log.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Log size in bytes that triggers a checkpoint.
    limit: u64,
    /// Next log size to try at: a reader that blocked the last checkpoint is probably still there.
    next: u64,
    /// The last log size; a smaller one is of a log that has restarted.
    last: u64,
    stop: Arc<ReadStop>,
    /// The recorded reads began before this mark.
    mark: Option<u64>,
}

impl Upkeep {
    pub(crate) fn new(limit: u64, stop: Arc<ReadStop>) -> Self {
        Self { limit, next: limit, last: 0, stop, mark: None }
    }

    /// `idle` is whether the task queue is empty.
    pub(crate) fn look(&mut self, engine: &mut Engine, idle: bool) {
        if let Err(error) = self.tidy(engine, idle) {
            // The next commit meets the same error and returns it.
            tracing::warn!(%error, "checkpoint failed");
        }
    }

    fn tidy(&mut self, engine: &mut Engine, idle: bool) -> Result<()> {
        let log = checkpoint::log_in_use(engine, self.limit)?;
        let used = log.bytes;
        if used < self.limit || used < self.last {
            self.next = self.limit;
        }
        self.last = used;
        // A log that is moved keeps its size until the next write restarts it.
        if used < self.limit || log.is_moved {
            self.mark = None;
            return Ok(());
        }
        let bound = if idle { self.next } else { self.next.max(BUSY_FACTOR * self.limit) };
        if used < bound {
            return Ok(());
        }
        // After a complete checkpoint without readers, the next write reuses the log from its
        // start.
        let done = checkpoint::checkpoint(engine, CheckpointMode::Passive)?;
        self.next = used + self.limit / 4;
        if done.moved < done.pages {
            self.end_old_reads(used);
        }
        Ok(())
    }

    /// A read keeps a part of the log from being moved. Only reads that were open while the log grew
    /// from the first multiple to the second are ended: a later one does not hold it back.
    fn end_old_reads(&mut self, used: u64) {
        if used < OLD_READS_FACTOR * self.limit {
            return;
        }
        match self.mark {
            Some(mark) if used >= 2 * OLD_READS_FACTOR * self.limit => {
                tracing::warn!(
                    bytes = used,
                    "the write-ahead log is too large; reads that keep it from being reused are ended"
                );
                self.stop.end_before(mark);
                self.mark = None;
            }
            Some(_) => {}
            None => self.mark = Some(self.stop.mark()),
        }
    }
}
