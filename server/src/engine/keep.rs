//! Housekeeping: the log and the verdicts are kept as long as somebody may need them, and no longer (C3).
//!
//! In pieces of a bounded size, each a transaction of its own, so that a push never waits for more than one of them.

use rejoin_protocol::time;

use super::Engine;
use crate::error::Fault;
use crate::model::Compaction;
use crate::observe;
use crate::store::{Writing, write};

const DAY: i64 = 86_400_000_000;

/// One thing of which a compaction forgets pieces.
type Forget<'a> = &'a mut dyn FnMut(&dyn Writing, usize) -> Result<usize, Fault>;

impl Engine {
    /// Who was seen last before this holds nothing back.
    pub(crate) fn silent_before(&self) -> String {
        time::format(self.clock.now() - DAY * i64::from(self.retention.log_days))
    }

    /// The verdicts of a device that was seen last before this are forgotten.
    pub(crate) fn forgotten_before(&self) -> String {
        time::format(self.clock.now() - DAY * i64::from(self.retention.verdict_days))
    }

    /// Forgets what every device has read, but for those that have long been silent, and the verdicts of the silent.
    pub(crate) fn compact(&self) -> Result<Compaction, Fault> {
        let log_since = self.silent_before();
        let verdicts_since = self.forgotten_before();
        let mut done = Compaction::default();
        let mut watermark = None;
        done.entries = self.in_pieces(&mut done, &mut |writing, most| {
            // Once for all pieces: what is read meanwhile is forgotten the next time.
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
        // Not with the log: a device that the server has not seen for long, or knows under another
        // id (a copy of a file), still sends edits that are older than what it has not read.
        done.times = self.in_pieces(&mut done, &mut |writing, most| {
            writing.forget_written(&verdicts_since, most)
        })?;
        self.tell(|hooks| hooks.compaction(&done));
        Ok(done)
    }

    /// Forgets piece by piece until one is not full, or somebody else is at it; how many went.
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

/// What every device has read that is not silent; the end of the log if there is none.
fn lowest(writing: &dyn Writing, since: &str) -> Result<i64, Fault> {
    let log = writing.log_state()?;
    let lowest = writing.lowest_position(since)?.unwrap_or(log.head);
    Ok(lowest.clamp(log.watermark, log.head))
}
