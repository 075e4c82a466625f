//! The number of rows in the next page of a snapshot.
//!
//! A page costs a round trip, whatever it contains: on a good network pages grow quickly, up to the
//! server's limit, until one takes a second or more. On a slow one they shrink, and after a page that
//! failed, too: what a broken connection loses is fetched again. From then on they grow slowly.

use std::time::Duration;

/// A page that took less is followed by a larger one.
const QUICK: Duration = Duration::from_secs(1);

/// A page that took longer is followed by one of half the rows.
const SLOW: Duration = Duration::from_secs(5);

/// Pages do not shrink further.
const LEAST: u32 = 100;

/// The rows of the next page.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PageSize {
    /// `None` before the first page.
    rows: Option<u32>,
    /// Whether a page of this snapshot was slow or failed. Shared pages, whose size is fixed, are not requested then.
    pub(super) is_careful: bool,
    /// Whether the next page will arrive within a second if the last one is a measure: then the one after
    /// it may be requested early. On a slow network two pages at once would delay each other.
    pub(super) is_quick: bool,
}

impl PageSize {
    /// The rows to ask for. `first` is the configured number, `most` the server's limit.
    pub(super) fn rows(self, first: u32, most: u32) -> u32 {
        self.rows.unwrap_or(first).min(most).max(1)
    }

    /// The page of `rows` has arrived after this time. `first` and `most` as in [`PageSize::rows`].
    pub(super) fn arrived(&mut self, rows: u32, (first, most): (u32, u32), took: Duration) {
        if took > SLOW {
            return self.failed(rows);
        }
        let next = if took < QUICK && !self.is_careful {
            rows.saturating_mul(4)
        } else if took < SLOW / 2 && rows < first {
            rows.saturating_mul(2)
        } else if took < QUICK {
            rows.saturating_add(LEAST.max(rows / 4))
        } else {
            rows
        };
        let next = next.min(most);
        self.is_quick = !self.is_careful && took * next < QUICK * rows.max(1);
        self.rows = Some(next);
    }

    /// A page whose size follows from the table has arrived instead of one of `rows`. It is a measure only if it took
    /// long.
    pub(super) fn arrived_short(&mut self, rows: u32, took: Duration) {
        if took > SLOW {
            self.failed(rows);
        }
    }

    /// A pass begins, perhaps on another network.
    pub(super) fn start_pass(&mut self) {
        self.is_quick = false;
    }

    /// The page of `rows` was answered by an error.
    pub(super) fn failed(&mut self, rows: u32) {
        self.may_be_too_large(rows);
        self.is_careful = true;
    }

    /// The page of `rows` failed after a refused shared page: perhaps nothing reaches the server.
    pub(super) fn may_be_too_large(&mut self, rows: u32) {
        let half = (rows / 2).max(LEAST.min(rows));
        (self.rows, self.is_quick) = (Some(half), false);
    }

    /// The page of `rows` has no response after this time. One that fails at once was not too large.
    pub(super) fn lost(&mut self, rows: u32, took: Duration) {
        self.is_quick = false;
        if took >= QUICK {
            self.failed(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::PageSize;

    const FIRST: u32 = 1_000;
    const MOST: u32 = 10_000;

    /// The next pages over a network that carries so many rows a second, after a latency.
    fn pages(size: &mut PageSize, rows_per_second: f64, latency: Duration) -> [u32; 8] {
        [(); 8].map(|()| {
            let rows = size.rows(FIRST, MOST);
            let took = latency + Duration::from_secs_f64(f64::from(rows) / rows_per_second);
            size.arrived(rows, (FIRST, MOST), took);
            rows
        })
    }

    #[test]
    fn pages_grow_on_a_good_network_and_shrink_on_a_slow_one() {
        let near = Duration::from_millis(80);
        let fresh =
            |rows_per_second, latency| pages(&mut PageSize::default(), rows_per_second, latency);
        // By 75 bytes a row: 20 Mbit/s, 1 Mbit/s, 200 kbit/s, 90 kbit/s, 6 kbit/s.
        assert_eq!(fresh(33_000.0, near)[..4], [1_000, 4_000, 10_000, 10_000]);
        assert_eq!(fresh(1_667.0, near)[..3], [1_000, 4_000, 4_000]);
        assert_eq!(fresh(330.0, near), [1_000; 8]);
        assert_eq!(fresh(150.0, near)[..4], [1_000, 500, 500, 500]);
        assert_eq!(fresh(10.0, near), [1_000, 500, 250, 125, 100, 100, 100, 100]);
        assert_eq!(fresh(33_000.0, Duration::from_secs(2)), [1_000; 8], "a far server");
    }

    #[test]
    fn pages_recover_after_losses_and_stay_below_a_limit_on_the_way() {
        let (second, far) = (Duration::from_secs(1), Duration::from_millis(1_200));
        let mut size = PageSize::default();
        let mut rows = Vec::new();
        for _ in 0..5 {
            rows.push(size.rows(FIRST, MOST));
            size.lost(size.rows(FIRST, MOST), second);
        }
        assert_eq!(rows, [1_000, 500, 250, 125, 100]);
        let recovered = pages(&mut size, 33_000.0, far);
        assert_eq!(recovered, [100, 200, 400, 800, 1_600, 1_600, 1_600, 1_600]);
        // A gateway refuses pages of more than 5,000 rows.
        let (mut size, mut refused) = (PageSize::default(), 0);
        for _ in 0..50 {
            let rows = size.rows(FIRST, MOST);
            if rows > 5_000 {
                refused += 1;
                size.failed(rows);
            } else {
                size.arrived(rows, (FIRST, MOST), second / 5);
            }
        }
        assert!((5..15).contains(&refused), "{refused}");
    }

    #[test]
    fn page_is_requested_early_only_if_two_arrive_within_seconds() {
        let quick = |rows_per_second: f64| {
            let mut size = PageSize::default();
            [(); 4].map(|()| {
                let rows = size.rows(FIRST, MOST);
                let took = Duration::from_millis(80)
                    + Duration::from_secs_f64(f64::from(rows) / rows_per_second);
                size.arrived(rows, (FIRST, MOST), took);
                size.is_quick
            })
        };
        assert_eq!(quick(33_000.0), [true; 4]);
        assert_eq!(quick(1_500.0), [false; 4]);
        let mut size = PageSize::default();
        for end in [PageSize::start_pass, |size: &mut PageSize| size.lost(FIRST, Duration::ZERO)] {
            size.arrived(FIRST, (FIRST, MOST), Duration::from_millis(90));
            assert!(size.is_quick);
            end(&mut size);
            assert!(!size.is_quick, "the network may be another one");
        }
    }

    #[test]
    fn page_that_fails_at_once_and_the_servers_limit_change_nothing() {
        let mut size = PageSize::default();
        size.lost(FIRST, Duration::ZERO);
        assert_eq!(size.rows(FIRST, MOST), FIRST, "nothing was sent");
        size.lost(7, Duration::from_secs(9));
        assert_eq!(size.rows(7, 7), 7, "a limit below the least is kept");
        size.arrived(7, (FIRST, MOST), Duration::ZERO);
        assert_eq!(size.rows(7, 7), 7);
    }
}
