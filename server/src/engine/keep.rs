//! Housekeeping: removes log entries and verdicts that no device needs any more.
//!
//! Works in batches of bounded size, each in its own transaction, so that a push waits for one
//! batch at most.

use rejoin_protocol::time;

use super::{Engine, log_model};
use crate::error::Fault;
use crate::model::Compaction;
use crate::observe;
use crate::store::{Writing, write};

const DAY: i64 = 86_400_000_000;

/// Deletes one batch of one kind of row and returns its size.
type Forget<'a> = &'a mut dyn FnMut(&dyn Writing, usize) -> Result<usize, Fault>;

impl Engine {
    /// Devices last seen before this time no longer hold back compaction.
    pub(crate) fn silent_before(&self) -> String {
        time::format(self.clock.now() - DAY * i64::from(self.retention.log_days))
    }

    /// The verdicts of devices last seen before this time are deleted.
    pub(crate) fn forgotten_before(&self) -> String {
        time::format(self.clock.now() - DAY * i64::from(self.retention.verdict_days))
    }

    /// Removes log entries that all active devices have read, and the verdicts of inactive devices.
    pub(crate) fn compact(&self) -> Result<Compaction, Fault> {
        let log_since = self.silent_before();
        let verdicts_since = self.forgotten_before();
        let mut done = Compaction::default();
        let mut watermark = None;
        done.entries = self.in_pieces(&mut done, &mut |writing, most| {
            // One end position for all batches: entries read meanwhile are removed by the next
            // compaction.
            let end = match watermark {
                Some(end) => end,
                None => lowest(writing, &log_since)?,
            };
            watermark = Some(end);
            writing.forget_entries(end, most)
        })?;
        done.watermark = watermark.unwrap_or_default();
        observe::compacted(done.entries);
        done.verdicts = self.in_pieces(&mut done, &mut |writing, most| {
            writing.forget_verdicts(&verdicts_since, most)
        })?;
        // Independent of the log: a device that was inactive, or registered again under a new id (a
        // copied file), may still send edits older than entries it has not read.
        done.times = self.in_pieces(&mut done, &mut |writing, most| {
            writing.forget_written(&verdicts_since, most)
        })?;
        let staged_before = time::format(self.clock.now() - DAY);
        self.in_pieces(&mut done, &mut |writing, most| {
            writing.forget_staged(&staged_before, most)
        })?;
        if !done.elsewhere {
            log_model::raise_horizon(self)?;
        }
        self.tell(|hooks| hooks.compaction(&done));
        Ok(done)
    }

    /// Deletes batches until one is not full or another node is compacting; returns the number of
    /// deleted rows.
    fn in_pieces(&self, done: &mut Compaction, forget: Forget<'_>) -> Result<usize, Fault> {
        let most = usize::try_from(self.retention.batch).unwrap_or(usize::MAX);
        let mut went = 0;
        while !done.elsewhere {
            let now = self.now();
            let piece = write(&*self.store, &now, |writing| {
                if writing.compacts_alone()? { forget(writing, most).map(Some) } else { Ok(None) }
            })?;
            let Some(piece) = piece else {
                done.elsewhere = true;
                break;
            };
            done.batches += 1;
            went += piece;
            if piece < most {
                break;
            }
        }
        Ok(went)
    }
}

/// The position that all active devices have read; the end of the log if there is no active device.
fn lowest(writing: &dyn Writing, since: &str) -> Result<i64, Fault> {
    let log = writing.log_state()?;
    let lowest = writing.lowest_position(since)?.unwrap_or(log.head);
    Ok(lowest.clamp(log.watermark, log.head))
}
