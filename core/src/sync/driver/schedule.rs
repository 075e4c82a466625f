//! When the next pass is due: pure, over a clock that only goes forward.
//!
//! Promise: a time always comes. Whatever failed, there is a next attempt, and only the server's own `Retry-After` and a
//! refusal (401, 426) hold back what the app or the device asks for by itself; a sync asked for by name is always due at once.
//! Hints (events, network, foreground, credentials) never make a loop: after the third pass in a row that one of them began and
//! that changed nothing, the next one waits by backoff.

use std::time::Duration;

use crate::sync::backoff::{Backoff, LONGEST_ASKED};

/// What has asked for a pass since the last one began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The app asked by name.
    pub(crate) explicit: bool,
    /// Something changed that makes waiting pointless: network back, foreground, resumed, new credentials.
    pub(crate) eager: bool,
    /// The server said that there is something.
    pub(crate) woken: bool,
    /// When the first local write came that no pass has looked at.
    pub(crate) wrote: Option<Duration>,
}

/// Passes in a row that hints begin at once although none of them changes anything.
const FREE_HINTS: u32 = 3;

/// Why the server will not talk to us until something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// 401, and the token could not be renewed.
    Auth,
    /// 426.
    Upgrade,
}

/// The driver's clock-work.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    debounce: Duration,
    backoff: Backoff,
    /// When the next pass begins by itself.
    next: Duration,
    failures: u32,
    /// No attempt before; set by a failure.
    not_before: Duration,
    /// The server itself asked for that.
    asked: bool,
    halted: bool,
    /// Passes in a row, each within an interval of the one before, that a hint began and that changed nothing.
    idle: u32,
    /// When the last of them ended.
    idled: Duration,
    /// No pass for a hint before.
    quiet_until: Duration,
}

impl Schedule {
    /// The first pass is due at once.
    pub(crate) fn new(interval: Duration, debounce: Duration, max_retries: u32) -> Self {
        Self {
            interval,
            debounce,
            backoff: Backoff { max_retries, slow: interval },
            next: Duration::ZERO,
            failures: 0,
            not_before: Duration::ZERO,
            asked: false,
            halted: false,
            idle: 0,
            idled: Duration::ZERO,
            quiet_until: Duration::ZERO,
        }
    }

    /// When the next pass begins; a time that has passed means now.
    pub(crate) fn due(&self, wishes: &Wishes) -> Duration {
        if wishes.explicit {
            return Duration::ZERO;
        }
        if wishes.eager && !self.asked {
            return self.quiet_until;
        }
        let mut wanted = self.next;
        if !self.halted {
            if wishes.woken || wishes.eager {
                wanted = self.quiet_until;
            }
            if let Some(wrote) = wishes.wrote {
                wanted = wanted.min(wrote + self.debounce);
            }
        }
        wanted.max(self.not_before)
    }

    /// A pass ended well.
    pub(crate) fn succeeded(&mut self, now: Duration) {
        self.failures = 0;
        self.calm();
        self.next = now + self.interval;
    }

    /// A pass brought something.
    pub(crate) fn moved(&mut self) {
        (self.idle, self.quiet_until) = (0, Duration::ZERO);
    }

    /// A pass that a hint began changed nothing.
    pub(crate) fn idled(&mut self, now: Duration, random: u64) {
        if now.saturating_sub(self.idled) > self.interval {
            self.idle = 0;
        }
        self.idle = self.idle.saturating_add(1);
        self.idled = now;
        self.quiet_until = match self.idle.checked_sub(FREE_HINTS) {
            None => Duration::ZERO,
            Some(times) => now + self.backoff.delay(times + 1, random, None),
        };
    }

    /// A pass failed in a way that time may mend. Says when the next attempt is.
    pub(crate) fn failed(
        &mut self,
        now: Duration,
        random: u64,
        asked: Option<Duration>,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.calm();
        self.asked = asked.is_some();
        self.not_before = now + self.backoff.delay(self.failures, random, asked);
        self.next = self.not_before;
        self.next
    }

    /// A pass failed in a way that a quick retry does not mend. Says when the next attempt is.
    pub(crate) fn broke(&mut self, now: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.calm();
        self.not_before = now + self.interval;
        self.next = self.not_before;
        self.next
    }

    /// The server will not talk to us. Credentials are looked at again at each interval, without the network; an app that is
    /// too old asks once an hour.
    pub(crate) fn halt(&mut self, now: Duration, halt: Halt) {
        self.failures = 0;
        self.calm();
        self.halted = true;
        self.next = now
            + match halt {
                Halt::Auth => self.interval,
                Halt::Upgrade => LONGEST_ASKED,
            };
    }

    /// Whether so much has failed in a row that people should be told.
    pub(crate) fn is_tired(&self) -> bool {
        self.failures > self.backoff.max_retries
    }

    fn calm(&mut self) {
        (self.not_before, self.asked, self.halted) = (Duration::ZERO, false, false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Halt, Schedule, Wishes};

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn schedule() -> Schedule {
        Schedule::new(seconds(30), Duration::from_millis(500), 5)
    }

    #[test]
    fn each_trigger_has_its_time_in_each_situation() {
        let none = Wishes::default();
        let explicit = Wishes { explicit: true, ..none };
        let eager = Wishes { eager: true, ..none };
        let woken = Wishes { woken: true, ..none };
        let wrote = Wishes { wrote: Some(seconds(101)), ..none };
        let at = seconds(100);
        let mut well = schedule();
        well.succeeded(at);
        let mut failed = schedule();
        failed.failed(at, u64::MAX, None);
        failed.failed(at, u64::MAX, None);
        failed.failed(at, u64::MAX, None);
        let mut asked = schedule();
        asked.failed(at, 0, Some(seconds(60)));
        let mut broken = schedule();
        broken.broke(at);
        let mut no_auth = schedule();
        no_auth.halt(at, Halt::Auth);
        let mut too_old = schedule();
        too_old.halt(at, Halt::Upgrade);
        let mut idle = schedule();
        idle.succeeded(at);
        (0..5).for_each(|_| idle.idled(at, u64::MAX));
        let mut moved = schedule();
        moved.succeeded(at);
        (0..5).for_each(|_| moved.idled(at, u64::MAX));
        moved.moved();
        // In milliseconds; 0 is at once. Columns: nothing asks, by name, eager, woken, written at 101 s.
        let table = [
            ("before the first pass", schedule(), [0, 0, 0, 0, 0]),
            ("after a good pass", well, [130_000, 0, 0, 0, 101_500]),
            ("after five hints in vain", idle, [130_000, 0, 104_000, 104_000, 101_500]),
            ("after five, and news", moved, [130_000, 0, 0, 0, 101_500]),
            ("third failure", failed, [104_000, 0, 0, 104_000, 104_000]),
            ("Retry-After", asked, [160_000, 0, 160_000, 160_000, 160_000]),
            ("broken", broken, [130_000, 0, 0, 130_000, 130_000]),
            ("needs auth", no_auth, [130_000, 0, 0, 130_000, 130_000]),
            ("upgrade required", too_old, [3_700_000, 0, 0, 3_700_000, 3_700_000]),
        ];
        for (name, schedule, expected) in table {
            let due = [none, explicit, eager, woken, wrote]
                .map(|wishes| schedule.due(&wishes).as_micros().div_ceil(1000));
            assert_eq!(due, expected, "{name}");
        }
    }

    #[test]
    fn whatever_happens_an_attempt_comes() {
        // Every sequence of four endings; the next attempt is within the hour, and within the interval unless the server
        // itself asked for more.
        for code in 0..6_u32.pow(4) {
            let mut schedule = schedule();
            let mut now = seconds(0);
            let mut longest = seconds(30);
            for step in 0..4 {
                now += seconds(7);
                longest = seconds(30);
                match code / 6_u32.pow(step) % 6 {
                    0 => schedule.succeeded(now),
                    1 => drop(schedule.failed(now, u64::MAX, None)),
                    2 => {
                        longest = seconds(90);
                        schedule.failed(now, 0, Some(longest));
                    }
                    3 => drop(schedule.broke(now)),
                    4 => schedule.halt(now, Halt::Auth),
                    _ => {
                        longest = seconds(3600);
                        schedule.halt(now, Halt::Upgrade);
                    }
                }
            }
            let due = schedule.due(&Wishes::default());
            assert!(due <= now + longest, "{code}: {due:?} after {now:?}");
        }
    }
}
