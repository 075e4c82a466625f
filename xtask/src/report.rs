//! Counts and times of stages, the table at the end, and the closing line that machines read.

use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// How many passed, failed, and were not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// One thing that passed or failed.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), skipped: 0 }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[derive(Debug)]
struct Row {
    stage: &'static str,
    count: Count,
    seconds: f64,
}

/// The rows so far, one per stage.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    file: Option<PathBuf>,
}

impl Report {
    /// An empty report; each row is also appended to `file`, as soon as its stage is over: whoever joins several
    /// reports (`.ci/run`) then knows what was done before a later stage hung.
    pub(crate) fn to(file: Option<PathBuf>) -> Self {
        Self { rows: Vec::new(), file }
    }

    /// Runs one stage, timed. A stage that cannot even run counts as one failure, with its reason printed; the
    /// answer says whether the stage is free of failures.
    pub(crate) fn stage(
        &mut self,
        stage: &'static str,
        run: impl FnOnce() -> Result<Count>,
    ) -> Result<bool> {
        println!("\n== {stage}");
        let start = Instant::now();
        let count = run().unwrap_or_else(|error| {
            println!("{stage}: {error:#}");
            Count::one(false)
        });
        let row = Row { stage, count, seconds: start.elapsed().as_secs_f64() };
        let told = self.file.as_deref().map_or(Ok(()), |file| append(file, &row));
        self.rows.push(row);
        told.map(|()| count.failed == 0)
    }

    /// Prints the table and the closing line, and gives the exit code: failure if anything failed, or if anything was
    /// skipped where skips are not allowed.
    pub(crate) fn close(&self, skips_allowed: bool) -> ExitCode {
        println!("\n{}", self.table());
        let total = self.total();
        if total.skipped > 0 && !skips_allowed {
            println!("a skip is a failure here, because CI=true");
        }
        println!("{}", closing_line(total));
        let well = total.failed == 0 && (skips_allowed || total.skipped == 0);
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

/// Adds a tab-separated line for the stage.
fn append(path: &Path, Row { stage, count, seconds }: &Row) -> Result<()> {
    let Count { passed, failed, skipped } = count;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write the stage to {}", path.display()))?;
    writeln!(file, "{stage}\t{passed}\t{failed}\t{skipped}\t{seconds:.1}")?;
    Ok(())
}

fn closing_line(Count { passed, failed, skipped }: Count) -> String {
    format!("{passed} passed, {failed} failed, {skipped} skipped")
}

/// Skips are for people who lack a tool; where `CI=true`, everything must have run.
pub(crate) fn skips_allowed() -> bool {
    std::env::var("CI").as_deref() != Ok("true")
}

#[cfg(test)]
mod tests {
    use super::{Count, Report, closing_line};
    use anyhow::anyhow;
    use std::process::ExitCode;

    fn code(report: &Report, skips_allowed: bool) -> String {
        format!("{:?}", report.close(skips_allowed))
    }

    #[test]
    fn the_closing_line_is_plain() {
        let count = Count { passed: 12, failed: 0, skipped: 3 };
        assert_eq!(closing_line(count), "12 passed, 0 failed, 3 skipped");
    }

    #[test]
    fn one_failure_in_any_stage_fails_the_whole() {
        let mut report = Report::default();
        assert!(report.stage("good", || Ok(Count { passed: 5, ..Count::default() })).unwrap());
        assert_eq!(code(&report, false), format!("{:?}", ExitCode::SUCCESS));
        assert!(!report.stage("bad", || Ok(Count { passed: 1, failed: 1, skipped: 0 })).unwrap());
        assert_eq!(code(&report, false), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(report.total(), Count { passed: 6, failed: 1, skipped: 0 });
    }

    #[test]
    fn a_stage_that_cannot_run_is_a_failure() {
        let mut report = Report::default();
        assert!(!report.stage("lost", || Err(anyhow!("no such command"))).unwrap());
        assert_eq!(report.total(), Count { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn each_stage_is_told_to_the_file_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let mut report = Report::to(Some(path.clone()));
        report.stage("first", || Ok(Count { passed: 2, failed: 1, skipped: 3 })).unwrap();
        let told = std::fs::read_to_string(&path).unwrap();
        assert!(told.starts_with("first\t2\t1\t3\t0."), "{told}");
        report.stage("second", || Err(anyhow!("lost"))).unwrap();
        let told = std::fs::read_to_string(&path).unwrap();
        assert!(told.lines().nth(1).unwrap().starts_with("second\t0\t1\t0\t"), "{told}");
    }

    #[test]
    fn a_skip_fails_only_where_skips_are_not_allowed() {
        let mut report = Report::default();
        report.stage("half", || Ok(Count { passed: 1, failed: 0, skipped: 1 })).unwrap();
        assert_eq!(code(&report, true), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(&report, false), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn the_table_has_a_line_per_stage() {
        let mut report = Report::default();
        report.stage("doctests", || Ok(Count { passed: 7, ..Count::default() })).unwrap();
        let table = report.table();
        assert!(table.lines().nth(1).unwrap().starts_with("doctests"), "{table}");
        assert!(table.contains("       7"), "{table}");
    }
}
