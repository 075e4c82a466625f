//! `cargo xtask test`: every test of the project in stages, counted and timed; a new stage is a line in `STAGES`.

mod story;

use crate::demo;
use crate::ledger::{self, Listed};
use crate::libtest::{listed, result_line};
use crate::process::{cargo, for_each_line, succeeds};
use crate::report::{Count, Report, skips_allowed};
use crate::workspace::{self, TestBinary};
use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this stage; may be repeated
    #[arg(long, value_name = "STAGE", value_parser = PossibleValuesParser::new(STAGES.iter().map(|stage| stage.0)))]
    only: Vec<String>,
    /// Append a tab-separated line per stage to this file
    #[arg(long, value_name = "FILE", hide = true)]
    rows: Option<PathBuf>,
}

type Run = fn(&Tests) -> Result<Count>;

/// The stages in order. Only a failed build ends the run early: what does not compile shows nothing.
const STAGES: &[(&str, Run)] = &[
    (BUILD, |tests| tests.build()),
    ("tests", |_| cargo_test(&["--lib", "--bins", "--tests"])),
    ("doctests", |_| cargo_test(&["--doc"])),
    ("ledger", |tests| tests.ledger()),
    ("demo", |tests| tests.demo()),
    ("sabotage", |tests| tests.sabotage()),
];

const BUILD: &str = "build";

/// Runs the stages and closes with table and counts.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let tests = Tests::default();
    let mut report = Report::to(options.rows.clone());
    for (name, run) in STAGES {
        let wanted = options.only.is_empty() || options.only.iter().any(|only| only == name);
        if wanted && !report.stage(name, || run(&tests))? && *name == BUILD {
            break;
        }
    }
    Ok(report.close(skips_allowed()))
}

/// What stages share: the test binaries, built once, and the demo's claims.
#[derive(Debug, Default)]
struct Tests {
    built: OnceCell<Vec<TestBinary>>,
    claims: OnceCell<Vec<u32>>,
}

impl Tests {
    fn build(&self) -> Result<Count> {
        self.binaries().map(|_| Count::one(true))
    }

    fn binaries(&self) -> Result<&[TestBinary]> {
        if let Some(binaries) = self.built.get() {
            return Ok(binaries);
        }
        let Some(binaries) = workspace::build_tests()? else { bail!("the tests do not compile") };
        Ok(self.built.get_or_init(|| binaries))
    }

    fn demo(&self) -> Result<Count> {
        // Built before, so that only the story itself is timed.
        if !succeeds(cargo(&["build", "--quiet", "--package", "rejoin-demo"], &[]))? {
            bail!("the demo does not compile");
        }
        let (count, claims) = story::holds(demo::command(&[]))?;
        self.claims.get_or_init(|| claims);
        Ok(count)
    }

    fn sabotage(&self) -> Result<Count> {
        if self.claims.get().is_none() {
            self.demo()?;
        }
        let claims = self.claims.get().map(Vec::as_slice).unwrap_or_default();
        story::notices(claims, |claim| demo::command(&["--sabotage".into(), claim.to_string()]))
    }

    /// The ledger against what the test binaries say of themselves, which no attribute and no macro can hide.
    fn ledger(&self) -> Result<Count> {
        let lines = ledger::read(&workspace::files()?)?;
        let mut names: BTreeMap<String, Listed> = BTreeMap::new();
        for binary in self.binaries()? {
            let entry = names.entry(binary.package.clone()).or_default();
            entry.all.extend(list(binary, &[])?);
            entry.ignored.extend(list(binary, &["--ignored"])?);
        }
        let problems = ledger::missing_in_binaries(&lines, &names);
        for problem in &problems {
            println!("{problem}");
        }
        println!("{} lines compared with {} crates", lines.len(), names.len());
        Ok(Count::one(problems.is_empty()))
    }
}

/// The tests that a binary lists; a binary with a harness of its own, which does not list, has none.
fn list(binary: &TestBinary, further: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new(&binary.executable);
    command.arg("--list").args(further).current_dir(&binary.folder);
    let mut output = String::new();
    let listing = for_each_line(command, |line| output = format!("{output}{line}\n"))?;
    Ok(if listing { listed(&output).into_iter().collect() } else { Vec::new() })
}

/// Runs tests of the whole workspace, shown and counted; a run that ends badly without a failed test (a crash, a
/// doctest that cannot be built) is one failure.
fn cargo_test(kinds: &[&str]) -> Result<Count> {
    let fixed = [&["test", "--workspace", "--no-fail-fast"], kinds].concat();
    counted(cargo(&fixed, &[]))
}

fn counted(command: Command) -> Result<Count> {
    let mut count = Count::default();
    let well = for_each_line(command, |line| {
        println!("{line}");
        count += result_line(line).unwrap_or_default();
    })?;
    if !well && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::counted;
    use crate::report::Count;
    use std::process::Command;

    fn shell(script: &str) -> Count {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        counted(command).unwrap()
    }

    #[test]
    fn counts_are_summed_over_the_binaries_of_a_run() {
        let line = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        let count = shell(&format!("echo 'running'; echo '{line}'; echo '{line}'"));
        assert_eq!(count, Count { passed: 4, failed: 0, skipped: 2 });
    }

    #[test]
    fn a_run_that_crashes_is_a_failure_even_without_a_failed_test() {
        assert_eq!(shell("exit 101"), Count { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn output_that_is_no_text_does_not_hide_the_result() {
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(shell(&format!(r"printf '\377\n'; echo '{line}'")).passed, 1);
    }
}
