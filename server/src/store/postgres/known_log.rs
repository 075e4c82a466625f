//! What a server knows of the log of its database, and what a snapshot of a standby must have.
//!
//! The head covers what devices were notified of. Its epoch and tag show that the standby follows
//! this database, not a state from which it has diverged: after a notice, no standby is used until
//! the tag is read. Knowledge is valid for a second, so that a standby that stops is noticed although
//! nothing happens here.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::LogState;

/// How long the last read of the log is valid.
const VALID: Duration = Duration::from_secs(1);

/// The end of the log as a snapshot shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LogEnd {
    pub(super) epoch: String,
    pub(super) head: i64,
    /// The tag of this position; `None` if its entry was compacted.
    pub(super) tag: Option<i64>,
}

/// What is known of the database's log.
#[derive(Debug, Default)]
pub(super) struct KnownLog {
    /// The latest end that was read in the database.
    end: LogEnd,
    /// The last position that was read or notified.
    head: i64,
    /// When the database was last asked.
    at: Option<Instant>,
}

impl KnownLog {
    pub(super) fn read(&mut self, end: LogEnd, begun: Instant) {
        if self.end.epoch.is_empty() {
            self.end = end;
        } else if end.epoch != self.end.epoch {
            if self.at.is_some_and(|at| begun < at) {
                return; // Or a read that took longer would bring an old epoch back.
            }
            self.head = end.head;
            self.end = end;
        } else if self.is_lower(end.head, begun) {
            return self.forget_end();
        } else if self.is_later(end.head, begun) {
            self.end = end;
        }
        self.asked(self.end.head, begun);
    }

    /// `tag`: of this position, if it was read as well. Without it, nothing shows what has happened to a log that was not
    /// read for a while.
    pub(super) fn read_head(&mut self, head: i64, tag: Option<i64>, begun: Instant) {
        let is_old = self.at.is_some_and(|at| begun.duration_since(at) >= VALID);
        if self.is_lower(head, begun) || tag.is_none() && is_old {
            self.forget_end();
            return self.notified(head);
        }
        if tag.is_some() && self.is_later(head, begun) {
            (self.end.head, self.end.tag) = (head, tag);
        }
        self.asked(head, begun);
    }

    fn asked(&mut self, head: i64, begun: Instant) {
        self.notified(head);
        self.at = self.at.max(Some(begun));
    }

    /// Whether a later read shows a lower head: the database may have been restored.
    fn is_lower(&self, head: i64, begun: Instant) -> bool {
        head < self.end.head && self.at.is_none_or(|at| begun > at)
    }

    /// Whether this is a later end. After a restore, the log may have grown to the same head with another tag.
    fn is_later(&self, head: i64, begun: Instant) -> bool {
        head > self.end.head || head == self.end.head && self.at.is_none_or(|at| begun > at)
    }

    /// The next read names the epoch and the tag. The known head stays, because devices may have been notified of it: in
    /// the same epoch, no standby is used until the log reaches it.
    fn forget_end(&mut self) {
        (self.end.head, self.end.tag, self.at) = (0, None, None);
    }

    pub(super) fn notified(&mut self, head: i64) {
        self.head = self.head.max(head);
    }

    pub(super) fn required(&self, now: Instant) -> Option<RequiredEnd> {
        let is_valid = self.at.is_some_and(|at| now.duration_since(at) < VALID);
        let is_known = is_valid && !self.end.epoch.is_empty() && self.end.head == self.head;
        is_known.then(|| RequiredEnd { end: self.end.clone() })
    }
}

/// What a snapshot must have. A later end is no reason to use it: a standby shows a commit before the database does if the
/// commit waits for another standby, and a device that had seen it would seem to know a lost state.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequiredEnd {
    end: LogEnd,
}

impl RequiredEnd {
    /// The position whose tag is compared.
    pub(super) fn position(&self) -> i64 {
        self.end.head
    }

    /// Whether a snapshot with this state of the log, and this tag at [`position`](Self::position),
    /// has it.
    pub(super) fn is_reached(&self, log: &LogState, tag: Option<i64>) -> bool {
        log.epoch == self.end.epoch && log.head == self.end.head && tag == self.end.tag
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{KnownLog, LogEnd, VALID};
    use crate::model::LogState;

    fn end(epoch: &str, head: i64) -> LogEnd {
        LogEnd { epoch: epoch.into(), head, tag: Some(head * 10) }
    }

    /// Whether the required end is reached by an epoch, a head and the tag of the last position.
    fn reaches(known: &KnownLog, now: Instant, (epoch, head, tag): (&str, i64, i64)) -> bool {
        let state = LogState {
            epoch: epoch.into(),
            key: String::new(),
            watermark: 0,
            head,
            unnumbered: false,
        };
        known.required(now).is_some_and(|required| required.is_reached(&state, Some(tag)))
    }

    #[test]
    fn floor_is_the_last_position_read_or_notified() {
        let (mut known, now) = (KnownLog::default(), Instant::now());
        known.read_head(3, None, now);
        assert_eq!(known.required(now), None, "no tag is known");
        known.read(end("a", 5), now);
        assert!(reaches(&known, now, ("a", 5, 50)));
        assert!(!reaches(&known, now, ("a", 4, 50)), "behind");
        assert!(!reaches(&known, now, ("a", 6, 50)), "ahead");
        assert!(!reaches(&known, now, ("b", 5, 50)), "another epoch");
        assert!(!reaches(&known, now, ("a", 5, 51)), "another log");
        known.read(end("a", 4), now);
        assert!(reaches(&known, now, ("a", 5, 50)), "an older read changes nothing");
        known.notified(7);
        assert_eq!(known.required(now), None, "a standby of a lost state may have reached 7, too");
        known.read(end("a", 7), now);
        assert!(!reaches(&known, now, ("a", 7, 71)) && reaches(&known, now, ("a", 7, 70)));
        known.read_head(8, Some(80), now);
        assert!(!reaches(&known, now, ("a", 7, 70)) && reaches(&known, now, ("a", 8, 80)));
    }

    #[test]
    fn knowledge_is_valid_for_a_second_after_the_read_began() {
        let (mut known, now) = (KnownLog::default(), Instant::now());
        let later = |ms| now + Duration::from_millis(ms);
        known.read(end("a", 5), now);
        known.notified(5);
        assert!(reaches(&known, later(999), ("a", 5, 50)));
        assert!(!reaches(&known, later(1_000), ("a", 5, 50)));
        known.read_head(5, None, later(500));
        assert!(reaches(&known, later(1_499), ("a", 5, 50)));
    }

    #[test]
    fn lower_head_of_a_later_read_ends_what_is_known() {
        let (mut known, now) = (KnownLog::default(), Instant::now());
        let later = now + Duration::from_millis(100);
        for only_head in [false, true] {
            known.read(end("a", 9), now);
            if only_head {
                known.read_head(5, None, later);
            } else {
                known.read(end("a", 5), later);
            }
            assert_eq!(known.required(later), None);
            known.read_head(5, None, later);
            known.read(end("a", 5), later);
            assert_eq!(known.required(later), None, "a standby of the lost state has 9");
            known = KnownLog::default();
        }
        known.read(end("a", 9), now);
        known.read(LogEnd { tag: Some(91), ..end("a", 9) }, later);
        assert!(reaches(&known, later, ("a", 9, 91)), "it has grown to the same head");
        let (latest, much_later) = (later + VALID / 2, later + 2 * VALID);
        known.read_head(9, Some(92), latest);
        assert!(reaches(&known, latest, ("a", 9, 92)));
        known.read_head(12, None, much_later);
        assert_eq!(known.required(much_later), None, "or meanwhile");
        known.read(end("a", 9), much_later - VALID / 2);
        assert_eq!(known.required(much_later), None, "devices may have been notified of 12");
        known = KnownLog::default();
        known.read(end("a", 9), now);
        known.read_head(5, None, later);
        known.read(end("b", 6), later);
        assert!(reaches(&known, later, ("b", 6, 60)));
    }

    #[test]
    fn new_epoch_replaces_the_known_log_and_is_not_replaced_by_an_older_read() {
        let (mut known, now) = (KnownLog::default(), Instant::now());
        let later = now + Duration::from_millis(100);
        known.read(end("a", 9), now);
        known.read(end("b", 5), later);
        known.read(end("a", 9), now);
        assert!(reaches(&known, later, ("b", 5, 50)));
    }
}
