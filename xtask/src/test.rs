//! `cargo xtask test`: every test of the project in stages, counted and timed; a new stage is a line in `STAGES`.

mod interop;
pub(crate) mod language;
mod results;
pub(crate) mod story;

use crate::demo::{self, Kotlin};
use crate::ledger::{self, Listed, Spoken};
use crate::libtest::{listed, result_line};
use crate::process::{cargo, for_each_line, succeeds};
use crate::report::{Count, Report, skips_allowed};
use crate::watchdog;
use crate::workspace::{self, TestBinary};
use crate::{bindings, simulate};
use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;
use language::{JAVASCRIPT, KOTLIN, SWIFT};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

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

/// The stages in order, each with the minutes after which it is ended: far above what it takes on two cores, an empty cache
/// included. Only a failed build ends the run early: what does not compile shows nothing.
const STAGES: &[(&str, u64, Run)] = &[
    (BUILD, 15, |tests| tests.build()),
    ("tests", 20, |_| cargo_test(&["--lib", "--bins", "--tests"])),
    ("doctests", 5, |_| cargo_test(&["--doc"])),
    ("bindings", 15, |_| bindings::compared()),
    ("kotlin", 20, |tests| KOTLIN.stage(&tests.spoken)),
    ("swift", 20, |tests| SWIFT.stage(&tests.spoken)),
    ("javascript", 20, |tests| JAVASCRIPT.stage(&tests.spoken)),
    ("interop", 10, |_| interop::stage()),
    ("simulate", 15, |_| simulate::stage()),
    ("ledger", 5, |tests| tests.ledger()),
    ("demo", 15, |tests| tests.demo()),
    ("sabotage", 15, |tests| tests.sabotage()),
];

/// What the demo promises of itself, once it is built and without pauses.
const LONGEST_DEMO: Duration = Duration::from_secs(10);

/// The same, and a PostgreSQL that is started for it.
const LONGEST_OVER_POSTGRES: Duration = Duration::from_secs(30);

const BUILD: &str = "build";

/// Runs the stages and closes with table and counts.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let tests = Tests::default();
    let mut report = Report::to(options.rows.clone());
    for (name, minutes, run) in STAGES {
        let wanted = options.only.is_empty() || options.only.iter().any(|only| only == name);
        let work = || in_time(Duration::from_mins(*minutes), || run(&tests));
        if wanted && !report.stage(name, work)? && *name == BUILD {
            break;
        }
    }
    Ok(report.close(skips_allowed()))
}

/// Runs a stage; one that the watchdog had to end has failed, whatever it says.
fn in_time(longest: Duration, run: impl FnOnce() -> Result<Count>) -> Result<Count> {
    let (count, ended) = watchdog::within(longest, run);
    count.map(|count| failed_if(ended, count))
}

fn failed_if(bad: bool, mut count: Count) -> Count {
    if bad && count.failed == 0 {
        count.failed = 1;
    }
    count
}

/// What stages share: the test binaries, built once, the demo's claims, and what the languages told of their tests.
#[derive(Debug, Default)]
struct Tests {
    built: OnceCell<Vec<TestBinary>>,
    claims: OnceCell<Vec<u32>>,
    /// What the demo is told of the device in Kotlin.
    kotlin: OnceCell<Vec<String>>,
    spoken: RefCell<Spoken>,
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
        let (arguments, skipped) = match Kotlin::built()? {
            Kotlin::Here(arguments) => (arguments, 0),
            Kotlin::Missing(why) => {
                println!("the device in Kotlin is skipped: {why}");
                (Vec::new(), 1)
            }
        };
        let (mut count, claims) = story::holds(demo::command(&arguments), LONGEST_DEMO)?;
        count.skipped += skipped;
        let over_postgres = [arguments.as_slice(), &["--postgres".to_owned()]].concat();
        count += story::holds(demo::command(&over_postgres), LONGEST_OVER_POSTGRES)?.0;
        self.claims.get_or_init(|| claims);
        self.kotlin.get_or_init(|| arguments);
        Ok(count)
    }

    fn sabotage(&self) -> Result<Count> {
        if self.claims.get().is_none() {
            self.demo()?;
        }
        let claims = self.claims.get().map(Vec::as_slice).unwrap_or_default();
        let kotlin = self.kotlin.get().map(Vec::as_slice).unwrap_or_default();
        story::notices(claims, |claim| {
            let sabotage = ["--sabotage".to_owned(), claim.to_string()];
            Ok(demo::command(&[&sabotage, kotlin].concat()))
        })
    }

    /// The ledger against what the test binaries and the languages say of themselves, which no attribute and no macro can
    /// hide. The lines of a language that did not run are skipped, and named.
    fn ledger(&self) -> Result<Count> {
        let mut names: BTreeMap<String, Listed> = BTreeMap::new();
        for binary in self.binaries()? {
            let entry = names.entry(binary.package.clone()).or_default();
            entry.all.extend(list(binary, &[])?);
            entry.ignored.extend(list(binary, &["--ignored"])?);
        }
        let crates = names.len();
        let spoken = self.spoken.borrow();
        names.extend(spoken.names());
        let (lines, silent) = spoken.part(ledger::read(&workspace::files()?)?);
        let problems = ledger::missing_in_binaries(&lines, &names);
        for problem in &problems {
            println!("{problem}");
        }
        println!(
            "{} lines compared with {crates} crates and {} languages",
            lines.len(),
            names.len() - crates
        );
        for (language, lines) in &silent {
            println!("{lines} lines not compared, because {language} did not run");
        }
        let skipped = silent.values().sum();
        Ok(Count { skipped, ..Count::one(problems.is_empty()) })
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
        // A test that says so by itself, for what it needs is not here: it is counted once more, as what it is.
        count.skipped += u64::from(line.starts_with("skipped: "));
    })?;
    Ok(failed_if(!well, count))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::{counted, failed_if, in_time};
    use crate::report::Count;
    use std::process::Command;
    use std::time::Duration;

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
    fn a_stage_that_was_ended_has_failed_whatever_it_says() {
        let count = |passed, failed| Count { passed, failed, skipped: 0 };
        assert_eq!(failed_if(true, count(5, 0)), count(5, 1));
        assert_eq!(failed_if(true, count(5, 2)), count(5, 2));
        assert_eq!(failed_if(false, count(5, 0)), count(5, 0));
        assert_eq!(in_time(Duration::from_mins(1), || Ok(count(5, 0))).unwrap(), count(5, 0));
    }

    #[test]
    fn output_that_is_no_text_does_not_hide_the_result() {
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(shell(&format!(r"printf '\377\n'; echo '{line}'")).passed, 1);
    }
}
