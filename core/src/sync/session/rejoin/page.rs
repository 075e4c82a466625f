//! The number of rows in the next page of a snapshot.
//!
//! A page costs a round trip, whatever it contains: on a good network pages grow, up to the server's
//! limit, until one takes a second or more. On a slow one they shrink, and after a page without a
//! response, too: what a broken connection loses is fetched again.

use std::time::Duration;

/// A page that took less is followed by one of four times the rows.
const QUICK: Duration = Duration::from_secs(1);

/// A page that took longer is followed by one of half the rows.
const SLOW: Duration = Duration::from_secs(5);

/// Pages do not shrink further.
const LEAST: u32 = 100;

/// The rows of the next page; `None` before the first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PageSize(Option<u32>);

impl PageSize {
    /// The rows to ask for. `first` is the configured number, `most` the server's limit.
    pub(super) fn rows(self, first: u32, most: u32) -> u32 {
        self.0.unwrap_or(first).min(most).max(1)
    }

    /// The page of `rows` was answered after this time.
    pub(super) fn answered(&mut self, rows: u32, took: Duration) {
        self.0 = Some(if took < QUICK {
            rows.saturating_mul(4)
        } else if took > SLOW {
            half(rows)
        } else {
            rows
        });
    }

    /// The page of `rows` has no response.
    pub(super) fn lost(&mut self, rows: u32) {
        self.0 = Some(half(rows));
    }
}

/// Half of a page, but no less than [`LEAST`] if it has more.
fn half(rows: u32) -> u32 {
    (rows / 2).max(LEAST.min(rows))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::PageSize;

    /// The pages of a snapshot over a network that carries so many rows a second, after 80 ms.
    fn pages(rows_per_second: u32, most: u32) -> Vec<u32> {
        let mut size = PageSize::default();
        let mut pages = Vec::new();
        for _ in 0..8 {
            let rows = size.rows(1_000, most);
            let seconds = f64::from(rows) / f64::from(rows_per_second);
            size.answered(rows, Duration::from_millis(80) + Duration::from_secs_f64(seconds));
            pages.push(rows);
        }
        pages
    }

    #[test]
    fn pages_grow_on_a_good_network_and_shrink_on_a_slow_one() {
        // 20 Mbit/s and 200 kbit/s, by 75 bytes a row.
        assert_eq!(pages(33_000, 10_000)[..4], [1_000, 4_000, 10_000, 10_000]);
        assert_eq!(pages(33_000, 1_000), [1_000; 8], "the server's limit");
        assert_eq!(pages(330, 10_000), [1_000; 8]);
        assert_eq!(pages(150, 10_000)[..4], [1_000, 500, 500, 500]);
        assert_eq!(pages(10, 10_000), [1_000, 500, 250, 125, 100, 100, 100, 100]);
    }

    #[test]
    fn page_without_a_response_is_followed_by_half_of_it() {
        let mut size = PageSize::default();
        let mut rows = Vec::new();
        for _ in 0..5 {
            rows.push(size.rows(1_000, 10_000));
            size.lost(size.rows(1_000, 10_000));
        }
        assert_eq!(rows, [1_000, 500, 250, 125, 100]);
        let mut small = PageSize::default();
        small.lost(7);
        assert_eq!(small.rows(7, 7), 7, "a limit below the least is kept");
    }
}
