//! Counts and times of stages, the final table, and the machine-readable closing line.

use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::ops::AddAssign;
use std::path::Path;
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
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// One stage with its result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) stage: String,
    pub(crate) count: Count,
    pub(crate) seconds: f64,
}

impl Row {
    /// Runs a stage and measures its time. A stage that cannot run counts as one failure, with its
    /// reason printed.
    pub(crate) fn of(stage: &str, run: impl FnOnce() -> Result<Count>) -> Self {
        println!("\n== {stage}");
        let start = Instant::now();
        let count = run().unwrap_or_else(|error| {
            println!("{stage}: {error:#}");
            Count::one(false)
        });
        Self { stage: stage.to_owned(), count, seconds: start.elapsed().as_secs_f64() }
    }

    /// A stage without a result.
    pub(crate) fn failed(stage: &str) -> Self {
        Self { stage: stage.to_owned(), count: Count::one(false), seconds: 0.0 }
    }

    /// Reads the output of [`Row::write`].
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let mut fields = text.trim_end().split('\t');
        let stage = fields.next()?.to_owned();
        let mut number = || fields.next()?.parse().ok();
        let count = Count { passed: number()?, failed: number()?, skipped: number()? };
        Some(Self { stage, count, seconds: fields.next()?.parse().ok()? })
    }

    /// Writes a tab-separated line.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let Self { stage, count: Count { passed, failed, skipped }, seconds } = self;
        let line = format!("{stage}\t{passed}\t{failed}\t{skipped}\t{seconds:.1}\n");
        std::fs::write(path, line).with_context(|| path.display().to_string())
    }
}

/// The rows so far, one per stage.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Adds the row of a stage that has ended.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Whether one of these stages has failed.
    pub(crate) fn has_failed(&self, stages: &[&str]) -> bool {
        let is_one = |row: &&Row| stages.contains(&row.stage.as_str());
        self.rows.iter().filter(is_one).any(|row| row.count.failed > 0)
    }

    /// Prints the table and the closing line, and returns the exit code: failure if anything
    /// failed, if nothing passed, or if anything was skipped where skips are not allowed.
    pub(crate) fn close(&self, skips_allowed: bool) -> ExitCode {
        println!("\n{}", self.table());
        let total = self.total();
        if total.skipped > 0 && !skips_allowed {
            println!("a skip is a failure here, because CI=true");
        }
        println!("{}", closing_line(total));
        let well = total.failed == 0 && total.passed > 0 && (skips_allowed || total.skipped == 0);
        if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn total(&self) -> Count {
        let mut total = Count::default();
        self.rows.iter().for_each(|row| total += row.count);
        total
    }

    fn table(&self) -> String {
        let mut table = format!(
            "{:<22}{:>8}{:>8}{:>9}{:>10}\n",
            "stage", "passed", "failed", "skipped", "seconds"
        );
        for Row { stage, count, seconds } in &self.rows {
            let Count { passed, failed, skipped } = count;
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{stage:<22}{passed:>8}{failed:>8}{skipped:>9}{seconds:>10.1}");
        }
        table
    }
}

/// Runs one stage in this process, and prints its table and the closing line.
pub(crate) fn alone(stage: &str, run: impl FnOnce() -> Result<Count>) -> ExitCode {
    Report { rows: vec![Row::of(stage, run)] }.close(skips_allowed())
}

fn closing_line(Count { passed, failed, skipped }: Count) -> String {
    format!("{passed} passed, {failed} failed, {skipped} skipped")
}

/// Whether tests may be skipped for missing tools: yes, except with `CI=true`.
pub(crate) fn skips_allowed() -> bool {
    std::env::var("CI").as_deref() != Ok("true")
}

#[cfg(test)]
mod tests {
    use super::{Count, Report, Row, closing_line};
    use anyhow::bail;
    use std::process::ExitCode;

    fn row(stage: &str, passed: u64, failed: u64, skipped: u64) -> Row {
        Row { stage: stage.into(), count: Count { passed, failed, skipped }, seconds: 61.5 }
    }

    fn succeeds(rows: &[Row], skips_allowed: bool) -> bool {
        let report = Report { rows: rows.to_vec() };
        report.close(skips_allowed) == ExitCode::SUCCESS
    }

    #[test]
    fn report_fails_with_any_failure_or_forbidden_skip() {
        assert!(succeeds(&[row("a", 5, 0, 0), row("b", 1, 0, 0)], false));
        assert!(!succeeds(&[row("a", 5, 0, 0), row("b", 1, 1, 0)], true));
        assert!(succeeds(&[row("a", 1, 0, 1)], true));
        assert!(!succeeds(&[row("a", 1, 0, 1)], false));
        assert!(!succeeds(&[row("a", 0, 0, 0)], true), "nothing was tested");
        assert_eq!(closing_line(row("a", 12, 0, 3).count), "12 passed, 0 failed, 3 skipped");
    }

    #[test]
    fn table_has_a_line_per_stage_with_its_time() {
        let table = Report { rows: vec![row("doctests", 7, 0, 1)] }.table();
        let fields: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(fields, ["doctests", "7", "0", "1", "61.5"]);
    }

    #[test]
    fn row_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("row");
        assert_eq!(Row::read(&path), None);
        row("tests", 3, 2, 1).write(&path).unwrap();
        assert_eq!(Row::read(&path), Some(row("tests", 3, 2, 1)));
    }

    #[test]
    fn stage_that_cannot_run_is_a_failure() {
        let row = Row::of("lost", || bail!("no such command"));
        assert_eq!(row.count, Count::one(false));
    }
}
