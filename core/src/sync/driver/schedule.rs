//! The schedule of passes: pure, over a monotonic clock.
//!
//! There is always a next attempt. Only `Retry-After` and a refusal (401, 426) delay automatic
//! syncs; a sync that the app requests is always due immediately. Hints (events, network,
//! foreground, credentials) cause no loop: after three consecutive hint-driven passes without a
//! change, the next one waits by backoff. While an event stream is open and nothing happens, the
//! interval grows, so that an idle device seldom uses its radio.
//!
//! The first local write after a pause is pushed at once. Writes within the debounce after the start of
//! that push wait until its end and are pushed together: continuous writes cause one push in each. While
//! they wait, a server event waits with them, for at most half a second.

use std::time::Duration;

use crate::sync::backoff::{Backoff, LONGEST_ASKED};

/// Requests for a pass since the last one began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PassRequests {
    /// The app requested a sync.
    pub(crate) explicit: bool,
    /// Waiting is pointless: network back, foreground, resumed, new credentials.
    pub(crate) eager: bool,
    /// A server event arrived.
    pub(crate) woken: bool,
    /// When the first local write after the last pass was committed.
    pub(crate) wrote: Option<Duration>,
}

impl PassRequests {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How an event stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It broke, or was silent for too long.
    Lost,
    /// The server closed it: the token is about to expire.
    Bye,
    /// It needs fewer pings now.
    Calmer,
}

/// Number of consecutive hint-driven passes without a change that run immediately.
const FREE_HINTS: u32 = 3;

/// The highest level of calm.
pub(crate) const CALMEST: u32 = 3;

/// When a level of calm at which streams do not stay open is tried again.
pub(crate) const RETRY: Duration = Duration::from_hours(1);

/// The longest interval between passes while an event stream is open; a configured one may be longer.
const LONGEST_CALM: Duration = Duration::from_mins(30);

/// How long an event waits for the end of a debounce in which there were local writes. Its pass would push
/// them, and the server notifies a device of its own pushes too.
const LONGEST_UNHEARD: Duration = Duration::from_millis(500);

/// Why the server refuses the device until something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// 401, and the token could not be renewed.
    Auth,
    /// 426.
    Upgrade,
}

/// The state of the schedule.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    debounce: Duration,
    backoff: Backoff,
    /// When the next pass starts without a request.
    next: Duration,
    /// The same while an event stream is open.
    next_calm: Duration,
    /// Number of passes at the interval since something happened, while an event stream is open.
    calm: u32,
    failures: u32,
    /// No attempt before this time; set by a failure.
    not_before: Duration,
    /// Whether `Retry-After` set it.
    by_server: bool,
    halted: bool,
    /// Consecutive hint-driven passes without a change, each within an interval of the previous
    /// one.
    idle: u32,
    /// When the last of them ended.
    idled: Duration,
    /// No hint-driven pass before this time.
    quiet_until: Duration,
    /// No pass because of a local write before this time.
    next_push: Duration,
    /// No pass because of a server event before this time, while local writes are collected.
    next_event: Duration,
}

impl Schedule {
    /// A schedule whose first pass is due immediately.
    pub(crate) fn new(interval: Duration, debounce: Duration, max_retries: u32) -> Self {
        Self {
            interval,
            debounce,
            backoff: Backoff { max_retries, slow: interval },
            next: Duration::ZERO,
            next_calm: Duration::ZERO,
            calm: 0,
            failures: 0,
            not_before: Duration::ZERO,
            by_server: false,
            halted: false,
            idle: 0,
            idled: Duration::ZERO,
            quiet_until: Duration::ZERO,
            next_push: Duration::ZERO,
            next_event: Duration::ZERO,
        }
    }

    /// When the next pass starts; now if in the past. `listens` says whether an event stream is open.
    pub(crate) fn due(&self, requests: &PassRequests, listens: bool) -> Duration {
        if requests.explicit {
            return Duration::ZERO;
        }
        let mut wanted = if listens { self.next_calm } else { self.next };
        if !self.halted {
            if requests.eager {
                wanted = wanted.min(self.quiet_until);
            }
            if requests.woken {
                let collected = requests.wrote.map_or(Duration::ZERO, |_| self.next_event);
                wanted = wanted.min(self.quiet_until.max(collected));
            }
            if let Some(wrote) = requests.wrote {
                wanted = wanted.min(wrote.max(self.next_push));
            }
        }
        let due = wanted.max(self.not_before);
        if requests.eager && !self.by_server { due.min(self.quiet_until) } else { due }
    }

    /// Records the start of a pass that pushes local writes; the next ones are collected.
    pub(crate) fn push_started(&mut self, now: Duration) {
        self.next_push = now + self.debounce;
        self.next_event = now + self.debounce.min(LONGEST_UNHEARD);
    }

    /// Records a successful pass.
    pub(crate) fn succeeded(&mut self, now: Duration) {
        self.failures = 0;
        self.reset_failures();
        self.next = now + self.interval;
        let calm = self.interval.saturating_mul(4_u32.saturating_pow(self.calm));
        self.next_calm = now + calm.min(LONGEST_CALM.max(self.interval));
    }

    /// Records a pass with changes.
    pub(crate) fn moved(&mut self) {
        (self.idle, self.quiet_until) = (0, Duration::ZERO);
        self.calm = 0;
    }

    /// Records a pass at the interval without changes, while an event stream is open; call it before
    /// [`Self::succeeded`]. A retry after a failure is no rest.
    pub(crate) fn rested(&mut self) {
        if self.failures == 0 {
            self.calm = CALMEST.min(self.calm + 1);
        }
    }

    /// Records the end of the event stream. Without another one, the next pass is at the interval, at a
    /// random time: many devices may lose their streams at once. A retry after a failure is not postponed.
    pub(crate) fn stream_ended(&mut self, now: Duration, random: u64, ended: Ended) {
        let pause = self.interval * u32::try_from(random % 1_000).unwrap_or(0) / 1_000;
        if self.failures == 0 {
            self.next = self.next.max(now + pause);
        }
        if ended == Ended::Lost {
            self.calm = 0;
            self.next_calm = self.next_calm.min(self.next);
        }
    }

    /// Records that the app or the device needs news soon.
    pub(crate) fn keep_awake(&mut self) {
        self.calm = 0;
    }

    /// The level of calm, up to [`CALMEST`].
    pub(crate) fn calm(&self) -> u32 {
        self.calm
    }

    /// Records a hint-driven pass without changes.
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

    /// Records a failure that may be temporary; returns the time of the next attempt.
    pub(crate) fn failed(
        &mut self,
        now: Duration,
        random: u64,
        by_server: Option<Duration>,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.reset_failures();
        self.by_server = by_server.is_some();
        self.not_before = now + self.backoff.delay(self.failures, random, by_server);
        self.set_next(self.not_before)
    }

    /// Records a failure that a quick retry does not resolve; returns the time of the next attempt.
    pub(crate) fn broke(&mut self, now: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.reset_failures();
        self.not_before = now + self.interval;
        self.set_next(self.not_before)
    }

    /// Records a refusal. Credentials are checked at each interval, without the network; a refused
    /// app version is tried once an hour.
    pub(crate) fn halt(&mut self, now: Duration, halt: Halt) {
        self.failures = 0;
        self.reset_failures();
        self.halted = true;
        let pause = match halt {
            Halt::Auth => self.interval,
            Halt::Upgrade => LONGEST_ASKED,
        };
        self.set_next(now + pause);
    }

    fn set_next(&mut self, at: Duration) -> Duration {
        (self.next, self.next_calm, self.calm) = (at, at, 0);
        at
    }

    /// Whether enough consecutive attempts failed to report it to the user.
    pub(crate) fn is_tired(&self) -> bool {
        self.failures > self.backoff.max_retries
    }

    fn reset_failures(&mut self) {
        (self.not_before, self.by_server, self.halted) = (Duration::ZERO, false, false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Halt, PassRequests, Schedule};

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn schedule() -> Schedule {
        Schedule::new(seconds(30), Duration::from_millis(500), 5)
    }

    #[test]
    fn trigger_is_due_at_its_time_in_each_situation() {
        let none = PassRequests::default();
        let explicit = PassRequests { explicit: true, ..none };
        let eager = PassRequests { eager: true, ..none };
        let woken = PassRequests { woken: true, ..none };
        let wrote = PassRequests { wrote: Some(seconds(101)), ..none };
        let at = seconds(100);
        let mut well = schedule();
        well.succeeded(at);
        let mut failed = schedule();
        failed.failed(at, u64::MAX, None);
        failed.failed(at, u64::MAX, None);
        failed.failed(at, u64::MAX, None);
        let mut by_server = schedule();
        by_server.failed(at, 0, Some(seconds(60)));
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
        let mut pushed = schedule();
        pushed.push_started(seconds(101));
        pushed.succeeded(at);
        // In milliseconds; 0 is now. Columns: no request, explicit, eager, woken, written at 101 s.
        let table = [
            ("before the first pass", schedule(), [0, 0, 0, 0, 0]),
            ("after a good pass", well, [130_000, 0, 0, 0, 101_000]),
            ("after five hints in vain", idle, [130_000, 0, 104_000, 104_000, 101_000]),
            ("after five, and news", moved, [130_000, 0, 0, 0, 101_000]),
            ("after a push that began at 101 s", pushed, [130_000, 0, 0, 0, 101_500]),
            ("third failure", failed, [104_000, 0, 0, 104_000, 104_000]),
            ("Retry-After", by_server, [160_000, 0, 160_000, 160_000, 160_000]),
            ("broken", broken, [130_000, 0, 0, 130_000, 130_000]),
            ("needs auth", no_auth, [130_000, 0, 0, 130_000, 130_000]),
            ("upgrade required", too_old, [3_700_000, 0, 0, 3_700_000, 3_700_000]),
        ];
        for (name, schedule, expected) in table {
            let due = [none, explicit, eager, woken, wrote]
                .map(|requests| schedule.due(&requests, false).as_micros().div_ceil(1000));
            assert_eq!(due, expected, "{name}");
        }
    }

    #[test]
    fn next_attempt_comes_after_any_sequence_of_results() {
        // All sequences of four results; the next attempt is within the hour, and within the
        // interval without `Retry-After`.
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
            for listens in [false, true] {
                let due = schedule.due(&PassRequests::default(), listens);
                assert!(due <= now + longest, "{code}: {due:?} after {now:?}");
            }
        }
    }

    #[test]
    fn interval_grows_only_while_a_stream_is_open_and_nothing_happens() {
        let none = PassRequests::default();
        let mut schedule = schedule();
        let mut now = seconds(0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            schedule.succeeded(now);
            assert_eq!(schedule.due(&none, false), now + seconds(30), "without a stream");
            let due = schedule.due(&none, true);
            pauses.push(due.saturating_sub(now).as_secs());
            now = due;
            schedule.rested();
        }
        assert_eq!(pauses, [30, 120, 480, 1_800, 1_800, 1_800]);
        schedule.moved();
        schedule.succeeded(now);
        assert_eq!(schedule.due(&none, true), now + seconds(30));
        let mut hourly = Schedule::new(seconds(3_600), Duration::ZERO, 5);
        hourly.rested();
        hourly.succeeded(now);
        assert_eq!(hourly.due(&none, true), now + seconds(3_600), "never shorter than configured");
    }
}
