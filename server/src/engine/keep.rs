//! Housekeeping: the log and the verdicts are kept as long as somebody may need them, and no longer (C3).

use rejoin_protocol::time;

use super::Engine;
use crate::error::Fault;
use crate::store::write;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Cursors below it need a snapshot.
    pub watermark: i64,
    /// Entries that went.
    pub entries: usize,
    /// Verdicts that went.
    pub verdicts: usize,
    /// Times at which rows were written by their authors, that went with the last entry of their row.
    pub times: usize,
}

const DAY: i64 = 86_400_000_000;

impl Engine {
    /// Forgets what every device has read, but for those that have long been silent, and the verdicts of the silent.
    pub(crate) fn compact(&self) -> Result<Compaction, Fault> {
        let now = self.clock.now();
        let log_since = time::format(now - DAY * i64::from(self.retention.log_days));
        let verdicts_since = time::format(now - DAY * i64::from(self.retention.verdict_days));
        write(&*self.store, &time::format(now), |writing| {
            let life = writing.life()?;
            let lowest = writing.lowest_position(&log_since)?.unwrap_or(life.head);
            let watermark = lowest.clamp(life.watermark, life.head);
            Ok(Compaction {
                watermark,
                entries: writing.forget_entries(watermark)?,
                verdicts: writing.forget_verdicts(&verdicts_since)?,
                times: writing.forget_written()?,
            })
        })
    }
}
