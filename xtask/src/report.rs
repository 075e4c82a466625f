//! Counts of tests, the table of the stages, and the closing line `N passed, N failed, N skipped`,
//! which is also how a run reads the result of a stage.

use anyhow::Result;
use std::fmt::{self, Display};
use std::ops::AddAssign;
use std::process::ExitCode;
use std::time::Instant;

/// Numbers of passed, failed and skipped tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// A single passed or failed test.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), skipped: 0 }
    }

    /// A single skipped test; prints what is missing.
    pub(crate) fn skipped(what: &str) -> Self {
        println!("skipped: {what}");
        Self { skipped: 1, ..Self::default() }
    }

    /// The same, with a failure for an error that no single test reports.
    pub(crate) fn failed_unless(self, well: bool) -> Self {
        if well || self.failed > 0 { self } else { Self { failed: 1, ..self } }
    }

    /// Reads a closing line.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let number = |word| number_before(line, word);
        let count = Self {
            passed: number("passed")?,
            failed: number("failed")?,
            skipped: number("skipped")?,
        };
        (line == count.to_string()).then_some(count)
    }
}

/// The number before the first occurrence of a word.
pub(crate) fn number_before(line: &str, word: &str) -> Option<u64> {
    line.split_once(word)?.0.split_whitespace().next_back()?.parse().ok()
}

impl Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(formatter, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// One stage with its result.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) stage: &'static str,
    pub(crate) count: Count,
    pub(crate) seconds: f64,
}

impl Row {
    /// Runs a stage and measures its time. A stage that cannot run counts as one failure, with its
    /// reason printed.
    pub(crate) fn of(stage: &'static str, run: impl FnOnce() -> Result<Count>) -> Self {
        let start = Instant::now();
        let count = run().unwrap_or_else(|error| {
            println!("{stage}: {error:#}");
            Count::one(false)
        });
        Self { stage, count, seconds: start.elapsed().as_secs_f64() }
    }
}

/// Runs one stage in this process, and prints its table and the closing line.
pub(crate) fn alone(stage: &'static str, run: impl FnOnce() -> Result<Count>) -> ExitCode {
    println!("\n== {stage}");
    close(&[Row::of(stage, run)], skips_allowed())
}

/// Prints the table and the closing line, and returns the exit code: failure if anything failed, if
/// nothing passed, or if anything was skipped where skips are not allowed.
pub(crate) fn close(rows: &[Row], skips_allowed: bool) -> ExitCode {
    println!("\n{:<22}{:>8}{:>8}{:>9}{:>10}", "stage", "passed", "failed", "skipped", "seconds");
    let mut total = Count::default();
    for Row { stage, count, seconds } in rows {
        let Count { passed, failed, skipped } = count;
        println!("{stage:<22}{passed:>8}{failed:>8}{skipped:>9}{seconds:>10.1}");
        total += *count;
    }
    if total.skipped > 0 && !skips_allowed {
        println!("\na skip is a failure here, because CI=true");
    }
    println!("\n{total}");
    let well = total.failed == 0 && total.passed > 0 && (skips_allowed || total.skipped == 0);
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether tests may be skipped for missing tools: yes, except with `CI=true`.
pub(crate) fn skips_allowed() -> bool {
    std::env::var("CI").as_deref() != Ok("true")
}

#[cfg(test)]
mod tests {
    use super::{Count, Row, close};
    use std::process::ExitCode;

    #[test]
    fn report_fails_with_any_failure_or_forbidden_skip() {
        let succeeds = |passed, failed, skipped, skips_allowed| {
            let rows = [Count { passed, failed, skipped }, Count::default()]
                .map(|count| Row::of("a", || Ok(count)));
            close(&rows, skips_allowed) == ExitCode::SUCCESS
        };
        assert!(succeeds(5, 0, 0, false));
        assert!(!succeeds(5, 1, 0, true));
        assert!(succeeds(1, 0, 1, true));
        assert!(!succeeds(1, 0, 1, false));
        assert!(!succeeds(0, 0, 0, true), "nothing was tested");
    }

    #[test]
    fn closing_line_is_read_and_no_other_line() {
        let count = Count { passed: 12, failed: 0, skipped: 3 };
        assert_eq!(count.to_string(), "12 passed, 0 failed, 3 skipped");
        assert_eq!(Count::read(&count.to_string()), Some(count));
        for line in
            ["", "12 passed", "x 12 passed, 0 failed, 3 skipped", "12 passed, 0 failed, 3 skipped."]
        {
            assert_eq!(Count::read(line), None, "{line}");
        }
    }
}
